"""Device, numbers and batch size for Qwen3-ASR, on machines that a stand-in for torch describes."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from worker.engines.protocol import ModelUnavailable
from worker.engines.qwen3.device import (
    Placement,
    check_free_memory,
    choose_attention,
    choose_batch_windows,
    choose_device,
    choose_dtype,
    is_device_lost,
)

GIB = 1 << 30


def make_torch(
    *, gpus: int = 0, mps: bool = False, capabilities: tuple[float, ...] = (8.0,), free: int = 8 * GIB
) -> Any:
    """The part of torch that is used, on a machine as described; `capabilities` are those of its GPUs."""

    def tell_capability(device: str) -> tuple[int, int]:
        major, minor = str(capabilities[int(device.removeprefix("cuda:"))]).split(".")
        return int(major), int(minor)

    cuda = SimpleNamespace(
        is_available=lambda: gpus > 0,
        device_count=lambda: gpus,
        get_device_capability=tell_capability,
        mem_get_info=lambda _device: (free, 8 * GIB),
    )
    return SimpleNamespace(
        __version__="2.13.0",
        cuda=cuda,
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps)),
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


@pytest.mark.parametrize("device", ["cuda:0", "cpu"])
def test_with_enough_memory_or_without_a_gpu_nothing_is_refused(device: str) -> None:
    check_free_memory(make_torch(free=3 * GIB if device != "cpu" else 0), device, 2 * GIB)


@pytest.mark.parametrize(
    ("device", "free", "windows"),
    [("cuda:0", 3 * GIB, 6), ("cuda:0", 80 * GIB, 16), ("cuda:0", 0, 1), ("cpu", 80 * GIB, 1)],
)
def test_free_gpu_memory_decides_how_many_windows_go_at_once(device: str, free: int, windows: int) -> None:
    assert choose_batch_windows(make_torch(free=free), device) == windows


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
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), False),
    ],
)
def test_errors_of_the_gpu_are_distinguished_from_other_errors(
    error: RuntimeError,
    *,
    is_lost: bool,
) -> None:
    assert is_device_lost(error) == is_lost
