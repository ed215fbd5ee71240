"""The report tells what was asked for, how busy the machine was, and whether a count is wrong."""

import pytest
from pydantic import ValidationError

from tests.bench.figures import Count, Findings, Goal, Series, Statistic
from tests.bench.machine import Busyness
from tests.bench.report import write_report
from tests.bench.settings import BenchSettings, Section

SLOW = Series("slow, s", [9.0], Goal(Statistic.MAX, 1))
QUIET = Busyness(before=0.01, after=0.02)


def test_a_goal_of_speed_that_is_missed_is_told_and_no_error() -> None:
    report = write_report(BenchSettings(), [Findings("A title", "How.", [SLOW])], QUIET)

    assert report.is_right
    assert "### A title\n\nHow.\n\n| figure |" in report.text
    assert "| slow, s | 1 | 9 | – | 9 | max ≤ 1 | **missed** |" in report.text


def test_a_count_that_is_wrong_is_an_error() -> None:
    findings = Findings("A title", "How.", [SLOW], [Count("lost", "1", "0")])

    assert not write_report(BenchSettings(), [findings], QUIET).is_right


@pytest.mark.parametrize("busy", [Busyness(before=0.5, after=0.0), Busyness(before=0.0, after=0.5)])
def test_a_busy_machine_is_warned_of(busy: Busyness) -> None:
    assert "**The machine was busy: other work took" in write_report(BenchSettings(), [], busy).text
    assert "**The machine was busy" not in write_report(BenchSettings(), [], QUIET).text


def test_sections_are_measured_in_one_order_whatever_is_asked_for() -> None:
    assert BenchSettings().sections == tuple(Section)
    assert BenchSettings(only="idle, overhead").sections == (Section.OVERHEAD, Section.IDLE)


def test_there_is_no_section_of_another_name() -> None:
    with pytest.raises(ValidationError):
        BenchSettings(only="idle,speed")
