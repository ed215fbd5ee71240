"""The device of Qwen3-ASR: which one, with which numbers, whether it has memory, and whether it is lost.

All functions get torch as an argument, so that nothing here imports it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any

import msgspec
import structlog

from shared.engine_choice import NEEDED_DRIVER, find_nvidia_devices
from worker.engines.protocol import ModelUnavailable
from worker.engines.qwen3.host_memory import HostMemory, read_host_memory

DEVICE_LOST_EXIT_CODE = 70

SDPA = "sdpa"
"""transformers' name of the attention of torch itself."""

_GIB = 1 << 30

# The most that a window of 30 s takes with a context of usual length, in a format of two bytes. A context of
# 4,096 bytes with a token for each takes up to 0.9 GiB: then the batch is decoded in halves.
_WINDOW_BYTES = _GIB // 2
# Needed on a GPU beside the weights: the device's context, and the buffers for one window.
_WORKING_BYTES = _GIB
_MAX_BATCH_WINDOWS = 16

# From this compute capability on (Ampere), GPUs compute in bfloat16 natively, and flash-attention runs.
_AMPERE = (8, 0)

# The marks of CUDA errors: torch raises a RuntimeError for each of them, older releases a plain one.
_DEVICE_ERROR_TYPE = "AcceleratorError"
_DEVICE_ERROR_TEXTS = (
    "CUDA error",
    "CUDA driver error",
    "Triton Error [CUDA]",
    "CUBLAS_STATUS",
    "CUDNN_STATUS",
    "cuDNN error",
    "cuFFT error",
    "cusolver error",
    "device-side assert",
)
# The marks of errors that mean too little memory, also those of CUDA that torch does not tell apart.
_MEMORY_ERROR_TEXTS = (
    "out of memory",
    "can't allocate memory",  # on the CPU
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUFFT_ALLOC_FAILED",
)

_logger = structlog.get_logger(__name__)


class DeviceTooSmall(ModelUnavailable):
    """Raised if a model does not fit into the memory of its device; the message has the figures."""


class Placement(msgspec.Struct, frozen=True):
    """The device on which a model computes, and its torch dtype."""

    device: str
    dtype: Any


def choose_device(torch: Any, wanted: str) -> str:
    """Return the device that DEVICE=`wanted` means on this machine, such as `cuda:0`.

    Raises:
        ModelUnavailable: this machine has no such device, or torch does not support it or its driver.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not gpus and (wanted == "auto" or wanted.startswith("cuda")):
        _check_driver(torch)
    has_mps = torch.backends.mps.is_available()
    if wanted == "auto":
        return _check_capability(torch, "cuda:0") if gpus else "mps" if has_mps else "cpu"
    if wanted.startswith("cuda"):
        number = int(wanted.partition(":")[2] or 0)
        if number >= gpus:
            raise ModelUnavailable(
                f"DEVICE={wanted}: torch {torch.__version__} finds {gpus} CUDA devices here. "
                "Check the driver and that torch is a CUDA build, or set DEVICE=cpu."
            )
        return _check_capability(torch, f"cuda:{number}")
    if wanted == "mps" and not has_mps:
        raise ModelUnavailable("DEVICE=mps: torch finds no Metal device here. Set DEVICE=cpu.")
    return wanted


def _check_driver(torch: Any) -> None:
    """Check that torch does not miss a device only because its driver is older than torch's CUDA.

    Raises:
        ModelUnavailable: it is older.
    """
    if not torch.version.cuda:
        return
    driver = find_nvidia_devices().cuda_version
    if (0, 0) < driver < (int(torch.version.cuda.partition(".")[0]), 0):
        raise ModelUnavailable(
            f"The NVIDIA driver is for CUDA {driver[0]}.{driver[1]}. torch {torch.__version__} needs CUDA "
            f"{torch.version.cuda} ({NEEDED_DRIVER}). Install that, or set ENGINE=qwen3-vllm, which has "
            "CUDA 12.8, or DEVICE=cpu."
        )


def _check_capability(torch: Any, device: str) -> str:
    """Return `device` if torch has kernels for its compute capability.

    Raises:
        ModelUnavailable: the device is older than all that torch was built for.
    """
    # Such as sm_75; a letter after the number means one generation alone.
    built = [name.removeprefix("sm_") for name in torch.cuda.get_arch_list() if name.startswith("sm_")]
    oldest = min((divmod(int(name.rstrip("abcdefgh")), 10) for name in built), default=(0, 0))
    capability = torch.cuda.get_device_capability(device)
    if capability < oldest:
        raise ModelUnavailable(
            f"{device} has compute capability {capability[0]}.{capability[1]}, and torch {torch.__version__} "
            f"needs {oldest[0]}.{oldest[1]} or newer. Set ENGINE=qwen3-vllm, which needs 7.0, or DEVICE=cpu."
        )
    return device


def choose_dtype(torch: Any, wanted: str, device: str) -> Any:
    """Return the torch dtype that DTYPE=`wanted` means on `device`."""
    if wanted == "bfloat16" and device == "cpu" and not _computes_bfloat16(torch):
        _logger.warning("dtype_slow", dtype=wanted, device=device, advice="set DTYPE=float32")
    if wanted != "auto":
        return getattr(torch, wanted)
    if not device.startswith("cuda"):
        return torch.float32
    return torch.bfloat16 if _is_ampere(torch, device) else torch.float16


def choose_attention(torch: Any, placement: Placement) -> str:
    """Return transformers' name of the attention: flash-attention if it is installed and runs, else SDPA."""
    is_fit = placement.dtype in {torch.bfloat16, torch.float16} and _is_ampere(torch, placement.device)
    return "flash_attention_2" if is_fit and find_spec("flash_attn") is not None else SDPA


def choose_batch_windows(torch: Any, placement: Placement) -> int:
    """Return how many windows to decode at once, from the memory that is free with the model loaded."""
    memory = _read_memory(torch, placement.device)
    if memory is None or not placement.device.startswith("cuda"):
        return 1
    window_bytes: int = _WINDOW_BYTES * placement.dtype.itemsize // 2
    return max(1, min(_MAX_BATCH_WINDOWS, memory.free_bytes // window_bytes))


def _computes_bfloat16(torch: Any) -> bool:
    # Without AVX-512, a prompt takes about 14 times as long as in float32.
    mkldnn = torch.ops.mkldnn
    return torch.backends.mkldnn.is_available() and bool(mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001


def _is_ampere(torch: Any, device: str) -> bool:
    # `is_bf16_supported` checks the current device, and is also true if bfloat16 is emulated.
    return device.startswith("cuda") and torch.cuda.get_device_capability(device) >= _AMPERE


def check_free_memory(torch: Any, device: str, weights_bytes: int) -> None:
    """Check that the weights and the work on one window fit on a device whose memory is known.

    Raises:
        DeviceTooSmall: the free memory of `device` is too small.
    """
    memory = _read_memory(torch, device)
    if memory and memory.free_bytes < _add_work(device, weights_bytes):
        raise DeviceTooSmall(_compare_memory(device, memory, weights_bytes))


def describe_shortage(torch: Any, device: str, weights_bytes: int, reason: str) -> DeviceTooSmall:
    """Return the error for memory that ran out while weights were loaded; that memory is free again."""
    figures = _name_remedy(device)
    with suppress(RuntimeError):  # this call takes memory as well
        if memory := _read_memory(torch, device):
            figures = _compare_memory(device, memory, weights_bytes)
    return DeviceTooSmall(f"{device} ran out of memory while the model was loaded ({reason}). {figures}")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` means that the device has too little memory."""
    text = str(error)
    return type(error).__name__ == "OutOfMemoryError" or any(sign in text for sign in _MEMORY_ERROR_TEXTS)


def _read_memory(torch: Any, device: str) -> HostMemory | None:
    """Return the memory of a GPU, or of this machine for its CPU; None if it is not known."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()  # what torch keeps for later tensors would count as used
        free, total = torch.cuda.mem_get_info(device)
        return HostMemory(free, total)
    return read_host_memory() if device == "cpu" else None


def _add_work(device: str, weights_bytes: int) -> int:
    return weights_bytes + (_WINDOW_BYTES if device == "cpu" else _WORKING_BYTES)


def _compare_memory(device: str, memory: HostMemory, weights_bytes: int) -> str:
    free, total = memory.free_bytes / _GIB, memory.total_bytes / _GIB
    return (
        f"{device} has {free:.1f} GiB of {total:.1f} GiB free, and the model needs about "
        f"{_add_work(device, weights_bytes) / _GIB:.1f} GiB. {_name_remedy(device)}"
    )


def _name_remedy(device: str) -> str:
    setting = "ENGINE=whisper" if device == "cpu" else "DEVICE=cpu"
    return f"Free memory there, choose a smaller MODEL_ID, or set {setting}."


def is_device_lost(error: BaseException) -> bool:
    """Return whether nothing works on the GPU any more in this process after `error`."""
    if is_out_of_memory(error):
        return False
    text = str(error)
    return type(error).__name__ == _DEVICE_ERROR_TYPE or any(sign in text for sign in _DEVICE_ERROR_TEXTS)


@contextmanager
def watch_device() -> Iterator[None]:
    """End this process after an error that leaves its GPU context unusable; a new process takes its job."""
    try:
        yield
    except RuntimeError as error:
        end_if_lost(error)
        raise


def end_if_lost(error: BaseException) -> None:
    """End this process if `error` leaves its GPU context unusable."""
    if is_device_lost(error):
        _logger.critical("device_lost", error=str(error))
        os._exit(DEVICE_LOST_EXIT_CODE)
