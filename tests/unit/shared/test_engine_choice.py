"""ENGINE=auto depends on the device and the installed packages; a named engine stays as it is."""

import ctypes
from pathlib import Path

import pytest

from cli.up import bootstrap
from shared import engine_choice
from shared.engine_choice import choose_engine_for_machine, choose_installed_engine, count_nvidia_devices
from worker.settings import WorkerSettings

FAILURE = 999


class StandInDriver:
    """A stand-in for NVIDIA's management library with `devices`, or with a broken driver."""

    def __init__(self, devices: int, *, is_broken: bool = False) -> None:
        self.devices = devices
        self.is_broken = is_broken
        self.is_open = False

    def nvmlInit_v2(self) -> int:  # noqa: N802 - a name of the library
        self.is_open = not self.is_broken
        return FAILURE if self.is_broken else 0

    def nvmlDeviceGetCount_v2(self, count: object) -> int:  # noqa: N802 - a name of the library
        assert self.is_open
        ctypes.cast(count, ctypes.POINTER(ctypes.c_uint))[0] = self.devices  # type: ignore[arg-type]
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


def test_devices_are_counted_and_the_library_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = StandInDriver(2)
    install_driver(monkeypatch, driver)

    assert count_nvidia_devices() == 2
    assert not driver.is_open


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


def test_the_download_is_announced_unless_the_weights_are_in_a_folder(tmp_path: Path) -> None:
    assert "about 2 GB" in str(bootstrap.describe_download(bootstrap.DEFAULT_MODEL))
    assert "about 2 GB" not in str(bootstrap.describe_download("Qwen/Qwen3-ASR-1.7B"))
    assert bootstrap.describe_download(str(tmp_path)) is None


def test_the_default_model_is_the_default_of_the_worker() -> None:
    assert WorkerSettings.model_fields["model_id"].default == bootstrap.DEFAULT_MODEL
