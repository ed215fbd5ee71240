"""The report tells the machine and its load, and fails for wrong counts only."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.bench.figures import Count, Figure, Findings, Goal, Growth
from tests.bench.machine import Busyness
from tests.bench.report import Circumstances, Report, UnusableOutput, check_outputs

SLOW = Figure("slow", "s", [9.0], goal=Goal(1))
GROWTH = Growth("Calls", "client", "ms", {"here": {1: [2.0], 4: [8.0]}})
QUIET = Busyness(before=0.01, after=0.02)
BEGAN = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
RUN = Circumstances("make bench ONLY=sync", ["sync"], "a synthetic voice", BEGAN)


def make_report(*counts: Count, busyness: Busyness = QUIET) -> Report:
    findings = Findings("A title", "How.", [SLOW], counts, [GROWTH])
    return Report(RUN, busyness, {"sync": findings})


def test_a_missed_goal_is_reported_and_no_error() -> None:
    report = make_report(Count("lost", 0, 0))

    assert report.is_right
    assert "## A title\n\nHow.\n\n| figure |" in report.write_text()
    assert "| slow, s | 1 | 9 | – | – | ≤ 1 s | **no** |" in report.write_text()


def test_a_wrong_count_is_an_error() -> None:
    assert not make_report(Count("lost", 1, 0)).is_right


def test_subjects_without_findings_are_listed() -> None:
    run = Circumstances("make bench", ["sync", "jobs", "cold"], "a synthetic voice", BEGAN)
    report = Report(run, QUIET, {"jobs": Findings("Jobs", "How.")})

    assert report.missing == ["sync", "cold"]
    assert "**Not measured: sync, cold.**" in report.write_text()
    assert "Not measured" not in make_report().write_text()


def test_the_report_names_command_commit_date_machine_speech_and_versions() -> None:
    text = make_report().write_text()

    assert text.startswith("# Speed on 2026-11-30\n\n`make bench ONLY=sync` at ")
    assert "commit" in text.splitlines()[2]
    assert "The speech is a synthetic voice." in text
    assert " cores (" in text
    assert "Versions: Python 3." in text


@pytest.mark.parametrize("busy", [Busyness(before=0.5, after=0.0), Busyness(before=0.0, after=0.5)])
def test_a_busy_machine_is_warned_of(busy: Busyness) -> None:
    warning = "**The machine was busy: other work took"

    assert warning in make_report(busyness=busy).write_text()
    assert warning not in make_report().write_text()


def test_a_published_report_shows_its_plots(tmp_path: Path) -> None:
    written = make_report().publish(tmp_path / "today.md")

    assert "![Calls, ms](today/sync-growth-1.svg)" in (tmp_path / "today.md").read_text()
    assert (tmp_path / "today" / "sync-growth-1.svg").exists()
    assert written == [tmp_path / "today.md", tmp_path / "today"]


def test_values_and_plots_are_written_under_the_time_of_the_run(tmp_path: Path) -> None:
    written = make_report().save(tmp_path / "results")

    assert [path.name for path in written] == ["2026-11-30T120000.json", "2026-11-30T120000"]
    assert [path.name for path in written[1].iterdir()] == ["sync-growth-1.svg"]
    content = json.loads(written[0].read_text())
    assert content["load"] == {"before": 0.01, "after": 0.02}
    assert content["subjects"]["sync"]["figures"][0]["here"] == [9.0]


def test_folders_of_the_outputs_are_created_and_old_reports_kept(tmp_path: Path) -> None:
    report = tmp_path / "new" / "report.md"
    check_outputs(tmp_path / "results", report)
    report.write_text("an older report")

    check_outputs(tmp_path / "results", report)

    assert (tmp_path / "results").is_dir()
    assert report.read_text() == "an older report"


@pytest.mark.parametrize("name", ["report", "report.txt", "file/report.md", "folder.md"])
def test_a_report_that_cannot_be_written_is_rejected(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.md").mkdir()

    with pytest.raises(UnusableOutput, match=f"^REPORT={tmp_path / name}: "):
        check_outputs(tmp_path, tmp_path / name)


def test_a_folder_of_results_that_is_a_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UnusableOutput, match=f"^RESULTS={tmp_path / 'file'}: "):
        check_outputs(tmp_path / "file", None)
