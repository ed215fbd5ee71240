"""The report tells the machine and its load, and fails for wrong counts only."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.bench.figures import Count, Figure, Findings, Goal, Growth
from tests.bench.machine import Busyness
from tests.bench.report import Report

SLOW = Figure("slow", "s", [9.0], goal=Goal(1))
GROWTH = Growth("Calls", "client", "ms", {"here": {1: [2.0], 4: [8.0]}})
QUIET = Busyness(before=0.01, after=0.02)
BEGAN = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def make_report(*counts: Count, busyness: Busyness = QUIET) -> Report:
    findings = Findings("A title", "How.", [SLOW], counts, [GROWTH])
    return Report("make bench ONLY=sync", BEGAN, busyness, {"sync": findings})


def test_a_missed_goal_is_reported_and_no_error() -> None:
    report = make_report(Count("lost", 0, 0))

    assert report.is_right
    assert "## A title\n\nHow.\n\n| figure |" in report.write_text()
    assert "| slow, s | 9 | – | – | ≤ 1 s | **no** |" in report.write_text()


def test_a_wrong_count_is_an_error() -> None:
    assert not make_report(Count("lost", 1, 0)).is_right


def test_the_report_names_command_date_machine_and_versions() -> None:
    text = make_report().write_text()

    assert text.startswith("# Speed on 2026-11-30\n\n`make bench ONLY=sync` on ")
    assert " cores (" in text
    assert "Versions: Python 3." in text


@pytest.mark.parametrize("busy", [Busyness(before=0.5, after=0.0), Busyness(before=0.0, after=0.5)])
def test_a_busy_machine_is_warned_of(busy: Busyness) -> None:
    warning = "**The machine was busy: other work took"

    assert warning in make_report(busyness=busy).write_text()
    assert warning not in make_report().write_text()


def test_a_published_report_shows_its_plots(tmp_path: Path) -> None:
    make_report().publish(tmp_path / "today.md")

    assert "![sync-growth-1](today/sync-growth-1.svg)" in (tmp_path / "today.md").read_text()
    assert (tmp_path / "today" / "sync-growth-1.svg").exists()


def test_the_values_and_plots_are_written_to_the_folder(tmp_path: Path) -> None:
    written = make_report().save(tmp_path / "results")

    assert sorted(path.name for path in written) == ["2026-11-30T120000.json", "sync-growth-1.svg"]
    content = json.loads(written[0].read_text())
    assert content["load"] == {"before": 0.01, "after": 0.02}
    assert content["subjects"]["sync"]["figures"][0]["here"] == [9.0]
