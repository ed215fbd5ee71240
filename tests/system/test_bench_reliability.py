"""2,000 listeners on one api process get every event once and in order; other figures can be measured."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.purposes import REPOSITORY


def run_bench(**asked: str) -> subprocess.CompletedProcess[str]:
    """Run it with these settings."""
    return subprocess.run(
        [sys.executable, "-m", "tests.bench"],
        cwd=REPOSITORY,
        env={**os.environ, "ENGINE": "scripted", **asked},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def read_rows(report: Path) -> dict[str, list[str]]:
    """The cells of each line of the tables, by the first."""
    lines = [line.strip("| ").split(" | ") for line in report.read_text().splitlines() if line[:1] == "|"]
    return {cells[0]: [cell.strip() for cell in cells[1:]] for cells in lines}


MAX_KB_PER_LISTENER = 1_000
"""Far above what was ever measured: more than this would be a leak, not a slow machine."""


@pytest.mark.full
@pytest.mark.timeout(900)
def test_two_thousand_listeners_hear_everything_once_and_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.md"

    done = run_bench(ONLY="listeners", LISTENERS="2000", EVENTS="4000", REPORT=str(report))

    assert done.returncode == 0, done.stdout
    with capsys.disabled():  # the figures are for who reads the log, beside their goals
        sys.stdout.write(f"\n{report.read_text()}")
    rows = read_rows(report)
    assert rows["events published"][0] == "4000"
    for harm in ("that their listener missed", "that their listener got twice", "out of order"):
        assert rows[f"events {harm}"][0] == "0"
    assert rows["listeners with one final event, whose stream then ended"][0] == "2000"
    assert rows["from publish to receive, ms"][0] == "4000"
    assert 0 < float(rows["memory of the api per listener, kB"][1]) < MAX_KB_PER_LISTENER
    assert int(rows["connections of the api to Redis"][0]) < 100


@pytest.mark.full
@pytest.mark.timeout(900)
def test_each_figure_of_single_jobs_is_measured(tmp_path: Path) -> None:
    report = tmp_path / "report.md"

    done = run_bench(ONLY="overhead,loss,cancel,idle", CALLS="20", ROUNDS="1", REPORT=str(report))

    assert done.returncode == 0, done.stdout
    rows = read_rows(report)
    assert "not measured" not in report.read_text()
    assert rows["overhead of a synchronous call, ms"][0] == "20"
    assert rows["wrong transcripts"][0] == "0"
    for figure in (
        "dead worker noticed after, s",
        "model process gone after kill -9 of its worker, s",
        "engine that stops: job cancelled after, s",
        "engine that ignores a stop: engine free after, s",
        "engine that ignores a stop: the next job has a model after, s",
        "model process gone after the last job, s",
    ):
        assert rows[figure][0] == "1"
    assert rows["engine that ignores a stop: processes that had to be ended"][0] == "1 of 1"


@pytest.mark.parametrize("wrong", [{"CALLS": "0"}, {"ONLY": "speed"}, {"ENGINE": "qwen3"}])
def test_a_setting_that_cannot_be_is_one_line(wrong: dict[str, str]) -> None:
    done = run_bench(**wrong)

    ((name, value),) = wrong.items()
    assert done.returncode == 2
    assert done.stdout.startswith(f"{name}={value}: ")
    assert len(done.stdout.splitlines()) == 1
