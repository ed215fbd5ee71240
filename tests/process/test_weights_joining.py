"""However many processes join the weights, and however they end, nothing half is ever found."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.purposes import REPOSITORY
from tests.process.weights_joiner import HEAD, TAIL


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Two packages that hold the parts; the first part is a pipe, so that the test sets the pace."""
    folder = tmp_path / "site"
    for package in ("weights_one", "weights_two"):
        (folder / package / "data").mkdir(parents=True)
        (folder / package / "__init__.py").touch()
    os.mkfifo(folder / "weights_one" / "data" / "model.1")
    (folder / "weights_two" / "data" / "model.2").write_bytes(TAIL)
    return folder


@contextmanager
def start_joiner(site: Path, models: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that joins the parts in `site` and prints the folder it got."""
    command = [sys.executable, "-m", "tests.process.weights_joiner", str(site), str(models)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_two_processes_at_once_join_the_weights_once(site: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    with start_joiner(site, models) as one, start_joiner(site, models) as other:
        # One of them reads the pipe, to its only end; the other would wait at it for ever.
        (site / "weights_one" / "data" / "model.1").write_bytes(HEAD)

        folders = [process.communicate()[0].splitlines()[-1] for process in (one, other)]

    assert folders == [str(models / "whisper-base")] * 2
    assert (models / "whisper-base" / "model.bin").read_bytes() == HEAD + TAIL


def test_a_join_that_is_killed_leaves_nothing_that_is_used(site: Path, tmp_path: Path) -> None:
    models, part = tmp_path / "models", site / "weights_one" / "data" / "model.1"
    with start_joiner(site, models) as killed, part.open("wb") as pipe:
        pipe.write(HEAD[:5])
        pipe.flush()
        killed.kill()
        killed.wait()
    assert not (models / "whisper-base").exists()

    part.unlink()
    part.write_bytes(HEAD)
    with start_joiner(site, models) as later:
        later.wait()

    assert (models / "whisper-base" / "model.bin").read_bytes() == HEAD + TAIL
    assert {path.name for path in models.iterdir()} == {"whisper-base", "whisper-base.lock"}
