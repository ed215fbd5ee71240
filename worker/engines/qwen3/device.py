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

from worker.engines.protocol import ModelUnavailable

DEVICE_LOST_EXIT_CODE = 70

SDPA = "sdpa"
"""transformers' name of the attention of torch itself."""

_GIB = 1 << 30

# Needed beside the weights: the device's context, and the buffers for one window of 30 s.
_WORKING_BYTES = _GIB
# The most that a window of 30 s takes, by arithmetic: the attention scores of its prompt, and its cache.
_WINDOW_BYTES = _GIB // 2
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
_LESS_MEMORY = "Free memory there, choose a smaller MODEL_ID, or set DEVICE=cpu."

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
        ModelUnavailable: this machine has no such device.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    if wanted == "auto":
        return "cuda:0" if gpus else "mps" if has_mps else "cpu"
    if wanted.startswith("cuda"):
        number = int(wanted.partition(":")[2] or 0)
        if number >= gpus:
            raise ModelUnavailable(
                f"DEVICE={wanted}: torch {torch.__version__} finds {gpus} CUDA devices here. "
                "Check the driver and that torch is a CUDA build, or set DEVICE=cpu."
            )
        return f"cuda:{number}"
    if wanted == "mps" and not has_mps:
        raise ModelUnavailable("DEVICE=mps: torch finds no Metal device here. Set DEVICE=cpu.")
    return wanted


def choose_dtype(torch: Any, wanted: str, device: str) -> Any:
    """Return the torch dtype that DTYPE=`wanted` means on `device`."""
    if wanted != "auto":
        return getattr(torch, wanted)
    if not device.startswith("cuda"):
        return torch.float32
    return torch.bfloat16 if _is_ampere(torch, device) else torch.float16


def choose_attention(torch: Any, placement: Placement) -> str:
    """Return transformers' name of the attention: flash-attention if it is installed and runs, else SDPA."""
    is_fit = placement.dtype in {torch.bfloat16, torch.float16} and _is_ampere(torch, placement.device)
    return "flash_attention_2" if is_fit and find_spec("flash_attn") is not None else SDPA


def choose_batch_windows(torch: Any, device: str) -> int:
    """Return how many windows to decode at once, from the memory that is free with the model loaded."""
    if not device.startswith("cuda"):
        return 1
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(_MAX_BATCH_WINDOWS, int(free) // _WINDOW_BYTES))


def _is_ampere(torch: Any, device: str) -> bool:
    # `is_bf16_supported` checks the current device, and is also true if bfloat16 is emulated.
    return device.startswith("cuda") and torch.cuda.get_device_capability(device) >= _AMPERE


def check_free_memory(torch: Any, device: str, weights_bytes: int) -> None:
    """Check that the weights and the work on one window fit on a GPU; other devices are not checked.

    Raises:
        DeviceTooSmall: the free memory of `device` is too small.
    """
    if not device.startswith("cuda"):
        return
    free, total = torch.cuda.mem_get_info(device)
    if free < weights_bytes + _WORKING_BYTES:
        raise DeviceTooSmall(_compare_memory(device, free, total, weights_bytes))


def describe_shortage(torch: Any, device: str, weights_bytes: int, reason: str) -> DeviceTooSmall:
    """Return the error for memory that ran out while weights were loaded; that memory is free again."""
    figures = _LESS_MEMORY
    if device.startswith("cuda"):
        with suppress(RuntimeError):  # this call takes memory as well
            free, total = torch.cuda.mem_get_info(device)
            figures = _compare_memory(device, free, total, weights_bytes)
    return DeviceTooSmall(f"{device} ran out of memory while the model was loaded ({reason}). {figures}")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` means that the device has too little memory."""
    return type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error)


def _compare_memory(device: str, free: int, total: int, weights_bytes: int) -> str:
    return (
        f"{device} has {free / _GIB:.1f} GiB of {total / _GIB:.1f} GiB free, and the model needs about "
        f"{(weights_bytes + _WORKING_BYTES) / _GIB:.1f} GiB. {_LESS_MEMORY}"
    )


def is_device_lost(error: BaseException) -> bool:
    """Return whether nothing works on the GPU any more in this process after `error`."""
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
