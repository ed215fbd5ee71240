"""Settings of the worker that follow from others."""

from pathlib import Path

import pytest

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
