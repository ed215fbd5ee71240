"""The meaning of ENGINE=auto on this machine. Needs only the standard library: `make run` imports it."""

import ctypes
from dataclasses import dataclass
from importlib.util import find_spec

NVML = "libnvidia-ml.so.1"  # comes with the driver, not with CUDA
SUCCESS = 0
QWEN3_PACKAGES = ("qwen_asr", "torch")


@dataclass(frozen=True)
class EngineChoice:
    """The name of an engine, and the reason why it was chosen."""

    engine: str
    reason: str


def count_nvidia_devices() -> int:
    """Return the number of devices that the NVIDIA driver sees; 0 if there is no driver.

    This calls NVIDIA's management library directly, as its Python binding does. `make run` needs the number
    before anything is installed, because it decides what to install.
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
    """Return Qwen3-ASR if there is an NVIDIA device, else Whisper, which is fast enough on the CPU."""
    devices = count_nvidia_devices()
    if devices:
        return EngineChoice("qwen3", f"NVIDIA devices found: {devices}")
    return EngineChoice("whisper", "no NVIDIA device found")


def choose_installed_engine() -> EngineChoice:
    """Return the engine for this machine that this Python environment can run.

    Without torch and qwen-asr, Qwen3-ASR would fail every job, so the choice is Whisper: its package is part
    of every environment. The reason names what is missing.
    """
    choice = choose_engine_for_machine()
    if choice.engine == "qwen3" and not all(find_spec(name) for name in QWEN3_PACKAGES):
        missing = f"{choice.reason}, but qwen-asr is not installed: `make run` installs it"
        return EngineChoice("whisper", missing)
    return choice
