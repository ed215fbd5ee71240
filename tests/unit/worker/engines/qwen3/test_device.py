"""Device, numbers and batch size for Qwen3-ASR, on machines that a stand-in for torch describes."""

import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from shared.engine_choice import NvidiaDevices
from tests.support.log_lines import capture_log_lines
from worker.engines.protocol import ModelUnavailable
from worker.engines.qwen3 import device as device_module
from worker.engines.qwen3.device import (
    Placement,
    check_free_memory,
    choose_attention,
    choose_batch_windows,
    choose_device,
    choose_dtype,
    is_device_lost,
    is_out_of_memory,
)
from worker.engines.qwen3.host_memory import HostMemory

GIB = 1 << 30
HALF = Placement("cuda:0", SimpleNamespace(itemsize=2))


@dataclass(frozen=True)
class Machine:
    """A machine, as torch describes it. A GPU has `free` bytes, and `kept` ones for later tensors."""

    gpus: int = 0
    mps: bool = False
    capabilities: tuple[float, ...] = (8.0, 8.0)  # those of its GPUs
    free: int = 8 * GIB
    kept: int = 0
    cuda: str | None = "13.0"  # of torch
    bfloat16_cpu: bool = True


def make_torch(**machine: Any) -> Any:
    """The part of torch that is used, on a machine as described."""
    here = Machine(**machine)
    gpu_free = here.free - here.kept

    def empty_cache() -> None:
        nonlocal gpu_free
        gpu_free = here.free

    def tell_capability(device: str) -> tuple[int, int]:
        major, minor = str(here.capabilities[int(device.removeprefix("cuda:"))]).split(".")
        return int(major), int(minor)

    cuda_module = SimpleNamespace(
        is_available=lambda: here.gpus > 0,
        device_count=lambda: here.gpus,
        get_device_capability=tell_capability,
        get_arch_list=lambda: ["sm_75", "sm_90a", "sm_120", "compute_120"],
        mem_get_info=lambda _device: (gpu_free, 8 * GIB),
        empty_cache=empty_cache,
    )
    mkldnn = SimpleNamespace(is_available=lambda: True, _is_mkldnn_bf16_supported=lambda: here.bfloat16_cpu)
    return SimpleNamespace(
        __version__="2.13.0",
        version=SimpleNamespace(cuda=here.cuda),
        cuda=cuda_module,
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: here.mps), mkldnn=mkldnn),
        ops=SimpleNamespace(mkldnn=mkldnn),
        float32="float32",
        float16="float16",
        bfloat16="bfloat16",
    )


class AcceleratorError(RuntimeError):
    """Named as torch's."""


@pytest.mark.parametrize(
    ("machine", "asked", "device"),
    [
        ({"gpus": 2, "mps": True}, "auto", "cuda:0"),
        ({"mps": True}, "auto", "mps"),
        ({}, "auto", "cpu"),
        ({"gpus": 2}, "cuda", "cuda:0"),
        ({"gpus": 2}, "cuda:1", "cuda:1"),
        ({"gpus": 2}, "cpu", "cpu"),
        ({"mps": True}, "mps", "mps"),
    ],
)
def test_auto_takes_the_best_device_and_a_named_one_is_taken(
    machine: dict[str, Any], asked: str, device: str
) -> None:
    assert choose_device(make_torch(**machine), asked) == device


@pytest.mark.parametrize(("gpus", "asked"), [(0, "cuda"), (1, "cuda:1"), (0, "mps")])
def test_a_device_that_is_not_there_never_becomes_another(gpus: int, asked: str) -> None:
    with pytest.raises(ModelUnavailable, match=f"DEVICE={asked}: torch .*Set DEVICE=cpu|or set DEVICE=cpu"):
        choose_device(make_torch(gpus=gpus), asked)


@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_a_driver_that_is_too_old_for_torch_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setattr(device_module, "find_nvidia_devices", lambda: NvidiaDevices(1, cuda_version=(12, 8)))

    with pytest.raises(
        ModelUnavailable, match=r"driver is for CUDA 12\.8.*needs CUDA 13\.0 \(driver 580 or newer\)"
    ):
        choose_device(make_torch(), asked)
    assert choose_device(make_torch(), "cpu") == "cpu"
    assert choose_device(make_torch(cuda=None), "auto") == "cpu"


def test_a_driver_that_is_new_enough_hides_no_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "find_nvidia_devices", lambda: NvidiaDevices(1, cuda_version=(13, 0)))

    assert choose_device(make_torch(cuda="13.2"), "auto") == "cpu"


@pytest.mark.parametrize("asked", ["auto", "cuda", "cuda:0"])
def test_a_gpu_that_torch_has_no_kernels_for_is_refused_with_the_remedy(asked: str) -> None:
    torch = make_torch(gpus=2, capabilities=(7.0, 7.5))

    with pytest.raises(
        ModelUnavailable, match=r"capability 7\.0.*needs 7\.5 or newer.*ENGINE=qwen3-vllm.*DEVICE=cpu"
    ):
        choose_device(torch, asked)
    assert choose_device(torch, "cuda:1") == "cuda:1"


@pytest.mark.parametrize(
    ("asked", "device", "has_bfloat16", "is_warned"),
    [
        ("bfloat16", "cpu", False, True),
        ("bfloat16", "cpu", True, False),
        ("float32", "cpu", False, False),
        ("auto", "cpu", False, False),
        ("bfloat16", "cuda:0", False, False),
    ],
)
def test_numbers_for_which_the_cpu_has_no_instructions_are_warned_of(
    asked: str, device: str, *, has_bfloat16: bool, is_warned: bool
) -> None:
    with capture_log_lines() as logs:
        choose_dtype(make_torch(bfloat16_cpu=has_bfloat16), asked, device)

    assert [log["event"] for log in logs] == ["dtype_slow"] * is_warned


@pytest.mark.parametrize(
    ("asked", "device", "dtype"),
    [
        ("auto", "cuda:0", "float16"),
        ("auto", "cuda:1", "bfloat16"),
        ("auto", "cuda:2", "bfloat16"),
        ("bfloat16", "cuda:0", "bfloat16"),
        ("auto", "mps", "float32"),
        ("auto", "cpu", "float32"),
        ("bfloat16", "cpu", "bfloat16"),
    ],
)
def test_auto_takes_the_numbers_that_suit_the_device(asked: str, device: str, dtype: str) -> None:
    assert choose_dtype(make_torch(capabilities=(7.5, 8.0, 12.0)), asked, device) == dtype


@pytest.mark.parametrize(
    ("device", "dtype", "attention"),
    [
        ("cuda:1", "bfloat16", "flash_attention_2"),
        ("cuda:1", "float16", "flash_attention_2"),
        ("cuda:1", "float32", "sdpa"),
        ("cuda:0", "float16", "sdpa"),
        ("cpu", "bfloat16", "sdpa"),
    ],
)
def test_flash_attention_is_taken_only_where_it_runs(
    monkeypatch: pytest.MonkeyPatch, device: str, dtype: str, attention: str
) -> None:
    torch, placement = make_torch(capabilities=(7.0, 9.0)), Placement(device, dtype)

    monkeypatch.setitem(sys.modules, "flash_attn", None)
    assert choose_attention(torch, placement) == "sdpa"
    installed = ModuleType("flash_attn")
    installed.__spec__ = ModuleSpec("flash_attn", None)
    monkeypatch.setitem(sys.modules, "flash_attn", installed)
    assert choose_attention(torch, placement) == attention


def test_too_little_free_gpu_memory_is_refused_with_the_numbers() -> None:
    with pytest.raises(
        ModelUnavailable, match=r"cuda:0 has 2\.0 GiB of 8\.0 GiB free.*needs about 2\.5 GiB.*DEVICE=cpu"
    ):
        check_free_memory(make_torch(gpus=1, free=2 * GIB), "cuda:0", 3 * GIB // 2)


def test_too_little_memory_beside_a_cpu_is_refused_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "read_host_memory", lambda: HostMemory(2 * GIB, 16 * GIB))

    with pytest.raises(
        ModelUnavailable, match=r"cpu has 2\.0 GiB of 16\.0 GiB free.*about 3\.6 GiB.*ENGINE=whisper"
    ):
        check_free_memory(make_torch(), "cpu", 31 * GIB // 10)


@pytest.mark.parametrize("device", ["cuda:0", "cpu", "mps"])
def test_with_enough_memory_or_without_a_figure_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(device_module, "read_host_memory", lambda: None)
    check_free_memory(make_torch(free=3 * GIB if device == "cuda:0" else 0), device, 2 * GIB)


def test_memory_that_torch_keeps_for_later_tensors_counts_as_free() -> None:
    check_free_memory(make_torch(free=4 * GIB, kept=3 * GIB), "cuda:0", 2 * GIB)

    assert choose_batch_windows(make_torch(free=4 * GIB, kept=3 * GIB), HALF) == 8


@pytest.mark.parametrize(
    ("placement", "free", "windows"),
    [
        (HALF, 3 * GIB, 6),
        (HALF, 80 * GIB, 16),
        (HALF, 0, 1),
        (Placement("cuda:0", SimpleNamespace(itemsize=4)), 3 * GIB, 3),
        (Placement("cpu", SimpleNamespace(itemsize=4)), 80 * GIB, 1),
    ],
)
def test_free_gpu_memory_decides_how_many_windows_go_at_once(
    placement: Placement, free: int, windows: int
) -> None:
    assert choose_batch_windows(make_torch(free=free), placement) == windows


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (AcceleratorError("unspecified launch failure"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), True),
        (RuntimeError("CUDA driver error: unknown error"), True),
        (RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"), True),
        (RuntimeError("cuFFT error: CUFFT_EXEC_FAILED"), True),
        (RuntimeError("cusolver error: CUSOLVER_STATUS_EXECUTION_FAILED, when calling `it`"), True),
        (AcceleratorError("CUDA error: out of memory"), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), False),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), False),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), False),
    ],
)
def test_errors_of_the_gpu_are_distinguished_from_other_errors(
    error: RuntimeError,
    *,
    is_lost: bool,
) -> None:
    assert is_device_lost(error) == is_lost


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB.",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "MPS backend out of memory (MPS allocated: 1.00 GB, max allowed: 2.00 GB).",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 40 bytes. Error code 12",
    ],
)
def test_a_shortage_of_memory_is_recognized_on_every_device(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))
