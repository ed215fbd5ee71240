"""Settings of the worker that follow from others."""

from pathlib import Path

import pytest

from worker.engines.catalog import LanguageChanges
from worker.settings import WorkerSettings


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

    with pytest.warns(FutureWarning, match=f"Set LANGUAGE_CHANGES={changes}"):
        assert WorkerSettings().language_changes is changes


def test_an_unknown_mode_of_language_changes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE_CHANGES", "sometimes")

    with pytest.raises(ValueError, match="language_changes"):
        WorkerSettings()
