"""ENGINE=auto depends on the device and the installed packages; a named engine stays as it is."""

import ctypes

import pytest

from cli.up import bootstrap
from shared import engine_choice
from shared.engine_choice import (
    NvidiaDevices,
    choose_engine_for_machine,
    choose_installed_engine,
    find_nvidia_devices,
)
from shared.start_settings import BAD_SETTING_EXIT_CODE
from worker.settings import WorkerSettings

FAILURE = 999


class StandInDriver:
    """A stand-in for NVIDIA's management library with `devices`, or with a broken driver.

    `capabilities` are those of the devices; the library cannot read those that are missing.
    """

    def __init__(
        self,
        devices: int,
        *,
        is_broken: bool = False,
        cuda_version: int = 13_000,
        capabilities: tuple[tuple[int, int], ...] = ((9, 0), (9, 0)),
    ) -> None:
        self.devices = devices
        self.is_broken = is_broken
        self.cuda_version = cuda_version
        self.capabilities = capabilities
        self.is_open = False

    def nvmlInit_v2(self) -> int:  # noqa: N802 - a name of the library
        self.is_open = not self.is_broken
        return FAILURE if self.is_broken else 0

    def nvmlDeviceGetCount_v2(self, count: object) -> int:  # noqa: N802 - a name of the library
        assert self.is_open
        ctypes.cast(count, ctypes.POINTER(ctypes.c_uint))[0] = self.devices  # type: ignore[arg-type]
        return 0

    def nvmlSystemGetCudaDriverVersion_v2(self, version: object) -> int:  # noqa: N802 - a name of the library
        assert self.is_open
        ctypes.cast(version, ctypes.POINTER(ctypes.c_int))[0] = self.cuda_version  # type: ignore[arg-type]
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, device: object) -> int:  # noqa: N802 - a name of the library
        assert self.is_open
        ctypes.cast(device, ctypes.POINTER(ctypes.c_void_p))[0] = index + 1  # type: ignore[arg-type]
        return 0 if index < len(self.capabilities) else FAILURE

    def nvmlDeviceGetCudaComputeCapability(  # noqa: N802 - a name of the library
        self, device: ctypes.c_void_p, major: object, minor: object
    ) -> int:
        assert self.is_open
        assert device.value
        for number, written in zip(self.capabilities[device.value - 1], (major, minor), strict=True):
            ctypes.cast(written, ctypes.POINTER(ctypes.c_int))[0] = number  # type: ignore[arg-type]
        return 0

    def nvmlShutdown(self) -> int:  # noqa: N802 - a name of the library
        self.is_open = False
        return 0


def install_driver(monkeypatch: pytest.MonkeyPatch, driver: StandInDriver | None) -> None:
    """Make `driver` the library that is loaded, or None for a machine without it."""

    def load(name: str) -> StandInDriver:
        assert name == "libnvidia-ml.so.1"
        if driver is None:
            raise OSError
        return driver

    monkeypatch.setattr(ctypes, "CDLL", load)


def test_devices_are_described_and_the_library_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = StandInDriver(2, cuda_version=12_040, capabilities=((6, 1), (8, 9)))
    install_driver(monkeypatch, driver)

    assert find_nvidia_devices() == NvidiaDevices(2, cuda_version=(12, 4), capability=(8, 9))
    assert not driver.is_open


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        (StandInDriver(1, cuda_version=12_080), "driver is for CUDA 12.8: torch needs driver 580 or newer"),
        (StandInDriver(1, capabilities=((7, 0),)), "compute capability 7.0: torch needs 7.5 or newer"),
    ],
)
def test_a_device_that_torch_cannot_use_leaves_whisper_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, driver: StandInDriver, reason: str
) -> None:
    install_driver(monkeypatch, driver)

    choice = choose_engine_for_machine()

    assert choice.engine == "whisper"
    assert choice.reason.startswith("NVIDIA devices found: 1, but ")
    assert choice.reason.endswith(reason)


@pytest.mark.parametrize(
    "driver",
    [
        StandInDriver(1, cuda_version=0, capabilities=()),
        StandInDriver(2, capabilities=((6, 1), (7, 5))),
        StandInDriver(1, cuda_version=13_020),
    ],
    ids=["it reports only the number", "one device is new enough", "newer driver"],
)
def test_nothing_speaks_against_other_devices(monkeypatch: pytest.MonkeyPatch, driver: StandInDriver) -> None:
    install_driver(monkeypatch, driver)

    assert choose_engine_for_machine().engine == "qwen3"


@pytest.mark.parametrize(
    ("driver", "engine", "purpose"),
    [
        (None, "whisper", "qwen-cpu"),
        (StandInDriver(0), "whisper", "qwen-cpu"),
        (StandInDriver(1, is_broken=True), "whisper", "qwen-cpu"),
        (StandInDriver(1), "qwen3", "qwen-cuda"),
    ],
    ids=["no driver", "no device", "broken driver", "one device"],
)
def test_the_device_decides_the_engine_and_the_build_of_torch(
    monkeypatch: pytest.MonkeyPatch, driver: StandInDriver | None, engine: str, purpose: str
) -> None:
    install_driver(monkeypatch, driver)

    assert choose_engine_for_machine().engine == engine
    assert bootstrap.find_purpose("qwen3") == purpose


@pytest.mark.parametrize(
    ("devices", "installed", "engine"),
    [
        (0, {"qwen_asr", "torch"}, "whisper"),
        (1, {"qwen_asr", "torch"}, "qwen3"),
        (1, {"torch"}, "whisper"),
        (1, set(), "whisper"),
    ],
)
def test_auto_is_qwen3_only_with_a_device_and_its_packages(
    monkeypatch: pytest.MonkeyPatch, devices: int, installed: set[str], engine: str
) -> None:
    install_driver(monkeypatch, StandInDriver(devices))
    monkeypatch.setattr(engine_choice, "find_spec", lambda name: name in installed or None)

    assert choose_installed_engine().engine == engine
    assert WorkerSettings(engine="auto").chosen_engine == engine


def test_a_device_that_goes_unused_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    install_driver(monkeypatch, StandInDriver(2))
    monkeypatch.setattr(engine_choice, "find_spec", lambda _: None)

    assert choose_installed_engine().reason == (
        "NVIDIA devices found: 2, but qwen-asr is not installed: `make run` installs it"
    )


@pytest.mark.parametrize("devices", [0, 1])
@pytest.mark.parametrize("wanted", ["whisper", "scripted", "qwen3", "qwen3-vllm", "no such engine"])
def test_a_named_engine_is_never_replaced(monkeypatch: pytest.MonkeyPatch, wanted: str, devices: int) -> None:
    install_driver(monkeypatch, StandInDriver(devices))

    assert bootstrap.decide_engine(wanted) == wanted
    assert (bootstrap.find_purpose(wanted) == "base") == ("qwen3" not in wanted)
    assert (bootstrap.find_purpose(wanted) == "qwen-vllm") == (wanted == "qwen3-vllm")


def test_the_meaning_of_auto_is_printed_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install_driver(monkeypatch, StandInDriver(1))

    bootstrap.decide_engine("auto")

    assert capsys.readouterr().out == "ENGINE=auto is qwen3 here: NVIDIA devices found: 1.\n"


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (
            "qwen3",
            (
                "no NVIDIA device found, so `make run` would use the CPU build of torch. Install driver 580 "
                "or newer until `nvidia-smi` lists the GPU, start again, or set DEVICE=cpu"
            ),
        ),
        ("whisper", "the engine is whisper, which runs on the CPU only. Set ENGINE=qwen3, or remove DEVICE"),
        ("auto", "the engine is whisper, which runs on the CPU only. Set ENGINE=qwen3, or remove DEVICE"),
    ],
)
def test_cuda_is_refused_before_the_set_up_of_an_engine_without_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wanted: str, reason: str
) -> None:
    install_driver(monkeypatch, None)
    monkeypatch.setattr(bootstrap, "set_up_and_enter", lambda *_: pytest.fail("the set-up began"))
    monkeypatch.setenv("ENGINE", wanted)
    monkeypatch.setenv("DEVICE", "cuda:0")

    assert bootstrap.enter_environment("") == BAD_SETTING_EXIT_CODE

    assert capsys.readouterr().err == f"DEVICE=cuda:0: {reason}.\n"


def test_cuda_is_accepted_with_an_nvidia_device(monkeypatch: pytest.MonkeyPatch) -> None:
    install_driver(monkeypatch, StandInDriver(1))

    assert bootstrap.explain_refusal("qwen3", "", "cuda") is None


def test_a_folder_that_is_missing_is_refused_before_the_set_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "set_up_and_enter", lambda *_: pytest.fail("the set-up began"))
    monkeypatch.setenv("ENGINE", "qwen3")
    monkeypatch.setenv("MODEL_ID", "/nonexistent/qwen")

    assert bootstrap.enter_environment("") == BAD_SETTING_EXIT_CODE

    printed = capsys.readouterr()
    assert printed.err == "MODEL_ID=/nonexistent/qwen: there is no such folder.\n"
    assert printed.out == ""
