"""The engine that ENGINE=auto means on this machine. Imports only the standard library."""

import ctypes
from dataclasses import dataclass

NVML = "libnvidia-ml.so.1"  # comes with the driver, not with CUDA
SUCCESS = 0


@dataclass(frozen=True)
class EngineChoice:
    """An engine by its name in ENGINE, and the reason for it."""

    engine: str
    reason: str


def count_nvidia_devices() -> int:
    """Return the number of devices that the NVIDIA driver sees; 0 without a driver.

    It calls NVIDIA's management library directly, as its Python binding does: the number decides which
    packages are installed, so the binding is not there yet.
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
    """Return Qwen3-ASR if there is an NVIDIA device, else Whisper, which is fast enough on a CPU."""
    devices = count_nvidia_devices()
    if devices:
        return EngineChoice("qwen3", f"NVIDIA devices found: {devices}")
    return EngineChoice("whisper", "no NVIDIA device found")
