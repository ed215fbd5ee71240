"""`make fuzz` for a minute: no damaged file does more than fail."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from scripts.purposes import REPOSITORY
from tests.fuzz.cases import read_clips
from tests.fuzz.guarded_server import serve
from tests.fuzz.run import FuzzRun, Plan
from tests.support.server import wait_for

pytestmark = pytest.mark.full


@pytest.mark.timeout(240)
def test_a_minute_of_damaged_files_breaks_no_rule(tmp_path: Path) -> None:
    where = ["--kept-in", str(tmp_path / "kept"), "--report", str(tmp_path / "report.md")]
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "60", "--seed", "5", *where]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert (tmp_path / "report.md").read_text() == run.stdout
    assert not (tmp_path / "kept").exists()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("role", ["worker", "model process", "fork server"])
def test_a_process_that_is_lost_is_noticed_and_what_was_under_way_is_kept(tmp_path: Path, role: str) -> None:
    with serve() as server:
        run = FuzzRun(Plan(15, 1, 0, tmp_path / "kept"), server, read_clips())
        watch_all: Callable[[], None] = server.watch_all

        def watch_and_kill() -> None:
            watch_all()
            victim = next(process for process, its_role in server._watched.items() if its_role == role)
            psutil.Process(victim.pid).kill()

        server.watch_all = watch_and_kill  # type: ignore[method-assign]
        report = run.run()
    assert role in report.lost
    assert not report.is_good
    wait_for(lambda: list((tmp_path / "kept").iterdir()), within_s=1)
