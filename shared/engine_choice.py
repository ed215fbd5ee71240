"""The meaning of ENGINE=auto on this machine. Needs only the standard library: `make run` imports it."""

import ctypes
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

NVML = "libnvidia-ml.so.1"  # comes with the driver, not with CUDA
SUCCESS = 0
QWEN3_PACKAGES = ("qwen_asr", "torch")

# Those of CUDA 13, for which torch in requirements/qwen-cuda.txt is built.
NEEDED_CUDA = (13, 0)
NEEDED_CAPABILITY = (7, 5)
NEEDED_DRIVER = "driver 580 or newer"

WHISPER_READS_NO_MODEL_ID = (
    "the engine is whisper, which does not read MODEL_ID. Set ENGINE=qwen3 to run this model (slow without a "
    "GPU), or remove MODEL_ID; WHISPER_MODEL names a model of whisper"
)
WHISPER_NEEDS_CPU = "the engine is whisper, which runs on the CPU only. Set ENGINE=qwen3, or remove DEVICE"


@dataclass(frozen=True)
class EngineChoice:
    """The name of an engine, and the reason why it was chosen."""

    engine: str
    reason: str


@dataclass(frozen=True)
class NvidiaDevices:
    """The report of the NVIDIA driver. Versions are (major, minor), and (0, 0) if it does not report them."""

    count: int = 0
    cuda_version: tuple[int, int] = (0, 0)  # the newest CUDA that the driver runs
    capability: tuple[int, int] = (0, 0)  # the highest compute capability of a device

    @property
    def obstacle(self) -> str | None:
        """The reason why torch for CUDA cannot use any of the devices, if it cannot."""
        if (0, 0) < self.cuda_version < NEEDED_CUDA:
            return f"their driver is for CUDA {_join(self.cuda_version)}: torch needs {NEEDED_DRIVER}"
        if (0, 0) < self.capability < NEEDED_CAPABILITY:
            has, needed = _join(self.capability), _join(NEEDED_CAPABILITY)
            return f"they have compute capability {has}: torch needs {needed} or newer"
        return None


def find_nvidia_devices() -> NvidiaDevices:
    """Return the devices that the NVIDIA driver sees; none if there is no driver.

    This calls NVIDIA's management library directly, as its Python binding does. `make run` needs the devices
    before anything is installed, because they decide what to install.
    """
    try:
        nvml = ctypes.CDLL(NVML)
    except OSError:
        return NvidiaDevices()
    if nvml.nvmlInit_v2() != SUCCESS:
        return NvidiaDevices()
    try:
        count = _read_number(nvml, "nvmlDeviceGetCount_v2")
        version = _read_number(nvml, "nvmlSystemGetCudaDriverVersion_v2")
        capabilities = [_read_capability(nvml, index) for index in range(count)]
    finally:
        nvml.nvmlShutdown()
    return NvidiaDevices(count, (version // 1000, version % 1000 // 10), max(capabilities, default=(0, 0)))


def _read_number(nvml: Any, function: str) -> int:
    """Return the number that a function of the library reports, and 0 if it fails."""
    number = ctypes.c_uint(0)
    return number.value if getattr(nvml, function)(ctypes.byref(number)) == SUCCESS else 0


def _read_capability(nvml: Any, index: int) -> tuple[int, int]:
    device, major, minor = ctypes.c_void_p(), ctypes.c_int(0), ctypes.c_int(0)
    if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)) != SUCCESS:
        return 0, 0
    nvml.nvmlDeviceGetCudaComputeCapability(device, ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def _join(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def choose_engine_for_machine() -> EngineChoice:
    """Return Qwen3-ASR if torch can use an NVIDIA device, else Whisper, which is fast enough on the CPU."""
    devices = find_nvidia_devices()
    if not devices.count:
        return EngineChoice("whisper", "no NVIDIA device found")
    found = f"NVIDIA devices found: {devices.count}"
    if devices.obstacle:
        return EngineChoice("whisper", f"{found}, but {devices.obstacle}")
    return EngineChoice("qwen3", found)


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
