"""Which engine ENGINE=auto means on this machine; needs nothing but the standard library."""

import ctypes
from dataclasses import dataclass

NVML = "libnvidia-ml.so.1"  # comes with the driver, not with CUDA
SUCCESS = 0


@dataclass(frozen=True)
class EngineChoice:
    """An engine by its name in ENGINE, and why it was taken."""

    engine: str
    reason: str


def count_nvidia_devices() -> int:
    """How many devices the NVIDIA driver of this machine sees; 0 where there is no driver.

    This asks NVIDIA's management library itself, as its Python binding does, because it is asked before
    anything is installed: what is installed depends on the answer.
    """
    try:
        nvml = ctypes.CDLL(NVML)
    except OSError:
        return 0
    if nvml.nvmlInit_v2() != SUCCESS:
        return 0
    try:
        count = ctypes.c_uint(0)
        return count.value if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) == SUCCESS else 0
    finally:
        nvml.nvmlShutdown()


def choose_engine_for_machine() -> EngineChoice:
    """Qwen3-ASR where there is an NVIDIA device, else Whisper, which is quick enough on the CPU."""
    devices = count_nvidia_devices()
    if devices:
        return EngineChoice("qwen3", f"NVIDIA devices seen: {devices}")
    return EngineChoice("whisper", "no NVIDIA device is seen")
