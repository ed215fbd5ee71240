"""Settings of the worker that depend on others, or have a former name."""

from pathlib import Path

import pytest

from tests.support.log_lines import capture_log_lines
from worker.engines.catalog import EngineName, LanguageChanges
from worker.settings import WorkerSettings, warn_of_outdated_settings


@pytest.mark.parametrize(
    ("chosen", "folder"),
    [
        ({}, "data/models/hub"),
        ({"HF_HOME": "home"}, "home/hub"),
        ({"HF_HUB_CACHE": "cache"}, "cache"),
        ({"HF_HOME": "home", "HF_HUB_CACHE": "cache"}, "cache"),
    ],
)
def test_downloads_from_the_hub_are_kept_with_the_models_unless_its_client_was_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str], folder: str
) -> None:
    for name in ("HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)

    assert WorkerSettings(data_dir=Path("data")).hub_cache_dir == Path(folder)


@pytest.mark.parametrize("changes", LanguageChanges)
def test_language_changes_names_a_mode(monkeypatch: pytest.MonkeyPatch, changes: LanguageChanges) -> None:
    monkeypatch.setenv("LANGUAGE_CHANGES", changes)

    assert WorkerSettings().language_changes is changes


@pytest.mark.parametrize(
    ("value", "changes"),
    [
        ("True", LanguageChanges.ALWAYS),
        ("true", LanguageChanges.ALWAYS),
        ("1", LanguageChanges.ALWAYS),
        ("False", LanguageChanges.OFF),
        ("0", LanguageChanges.OFF),
    ],
)
def test_a_former_boolean_of_language_changes_is_read_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, value: str, changes: LanguageChanges
) -> None:
    monkeypatch.setenv("LANGUAGE_CHANGES", value)

    assert WorkerSettings().language_changes is changes
    with capture_log_lines() as lines:
        warn_of_outdated_settings()
    assert [(line["setting"], line["use"]) for line in lines] == [
        (f"LANGUAGE_CHANGES={value}", f"LANGUAGE_CHANGES={changes}")
    ]


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("LANGUAGE_CHANGES", "OFF", LanguageChanges.OFF),
        ("ENGINE", "Whisper", EngineName.WHISPER),
        ("ENGINE", "AUTO", "auto"),
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("DTYPE", "Float32", "float32"),
        ("DEVICE", "CUDA:1", "cuda:1"),
    ],
)
def test_listed_values_are_read_in_upper_and_lower_case(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, read: str
) -> None:
    monkeypatch.setenv(name, value)

    assert getattr(WorkerSettings(), name.lower()) == read


def test_an_unknown_mode_of_language_changes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE_CHANGES", "sometimes")

    with pytest.raises(ValueError, match="language_changes"):
        WorkerSettings()


@pytest.fixture(params=[("WINDOW_TIMEOUT", "STALL_TIMEOUT_S"), ("LOAD_TIMEOUT", "LOAD_TIMEOUT_S")])
def names(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The former and the present name of a setting; neither is set."""
    former, present = request.param
    for name in (former, present):
        monkeypatch.delenv(name, raising=False)
    return former, present


def test_a_former_name_is_read_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    former, present = names
    monkeypatch.setenv(former, "7")

    assert getattr(WorkerSettings(), present.lower()) == 7
    with capture_log_lines() as lines:
        warn_of_outdated_settings()
    assert lines == [{"event": "setting_outdated", "log_level": "warning", "setting": former, "use": present}]


def test_the_removed_length_of_a_first_window_has_no_effect_but_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FIRST_WINDOW_S", "8")

    assert WorkerSettings().window_s == 30
    with capture_log_lines() as lines:
        warn_of_outdated_settings()
    assert lines == [{"event": "setting_removed", "log_level": "warning", "setting": "FIRST_WINDOW_S"}]


def test_the_present_name_wins_over_the_former(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    for name, value in zip(names, ("7", "8"), strict=True):
        monkeypatch.setenv(name, value)

    assert getattr(WorkerSettings(), names[1].lower()) == 8


def test_the_present_name_needs_no_warning(monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]) -> None:
    monkeypatch.setenv(names[1], "8")

    with capture_log_lines() as lines:
        warn_of_outdated_settings()
    assert lines == []
