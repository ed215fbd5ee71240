"""Where Qwen3-ASR runs and with which numbers, decided from what torch says of the machine."""

from typing import Any

from worker.engines.protocol import ModelUnavailable

_GIB = 1 << 30

# Beside the weights: the device's context, and the buffers for one window of 30 s.
_WORKING_BYTES = _GIB
# What a window of 30 s takes at most, by arithmetic: the scores of its prompt's tokens, and its cache.
_WINDOW_BYTES = _GIB // 2
_MAX_BATCH_WINDOWS = 16

# What CUDA's errors have in common: torch raises a RuntimeError for each of them, older releases a plain one.
_DEVICE_ERROR_TYPES = frozenset({"AcceleratorError"})
_DEVICE_ERROR_TEXTS = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "cuDNN error", "device-side assert")


def choose_device(torch: Any, asked: str) -> str:
    """The device that DEVICE=`asked` means on this machine, such as `cuda:0`.

    Raises:
        ModelUnavailable: there is no such device.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    if asked == "auto":
        return "cuda:0" if gpus else "mps" if has_mps else "cpu"
    if asked.startswith("cuda"):
        number = int(asked.partition(":")[2] or 0)
        if number >= gpus:
            raise ModelUnavailable(
                f"DEVICE={asked}: torch {torch.__version__} finds {gpus} CUDA devices here. "
                "Check the driver and that torch is a CUDA build, or set DEVICE=cpu."
            )
        return f"cuda:{number}"
    if asked == "mps" and not has_mps:
        raise ModelUnavailable("DEVICE=mps: torch finds no Metal device here. Set DEVICE=cpu.")
    return asked


def choose_dtype(torch: Any, asked: str, device: str) -> Any:
    """The torch dtype that DTYPE=`asked` means on `device`."""
    if asked != "auto":
        return getattr(torch, asked)
    if not device.startswith("cuda"):
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def check_free_memory(torch: Any, device: str, weights_bytes: int) -> None:
    """See that the weights and the work on one window fit on the GPU `device`; others are not asked.

    Raises:
        ModelUnavailable: they do not.
    """
    if not device.startswith("cuda"):
        return
    free, total = torch.cuda.mem_get_info(device)
    needed = weights_bytes + _WORKING_BYTES
    if free < needed:
        raise ModelUnavailable(
            f"{device} has {free / _GIB:.1f} GiB of {total / _GIB:.1f} GiB free, and the model needs about "
            f"{needed / _GIB:.1f} GiB. Free memory there, choose a smaller MODEL_ID, or set DEVICE=cpu."
        )


def choose_batch_windows(torch: Any, device: str) -> int:
    """How many windows to decode at once, given what is free on `device` with the model loaded."""
    if not device.startswith("cuda"):
        return 1
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(_MAX_BATCH_WINDOWS, int(free) // _WINDOW_BYTES))


def is_device_lost(error: BaseException) -> bool:
    """Whether after `error` nothing works on the GPU any more, in this process."""
    text = str(error)
    return type(error).__name__ in _DEVICE_ERROR_TYPES or any(sign in text for sign in _DEVICE_ERROR_TEXTS)
