"""Series and counts are put beside their goals, and what was not measured is not made up."""

import pytest

from tests.bench.figures import (
    Count,
    Goal,
    Series,
    Statistic,
    find_percentile,
    tabulate_counts,
    tabulate_series,
)


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [
        ([7], 0.5, 7),
        ([3, 1, 2], 0.5, 2),
        ([4, 3, 2, 1], 0.5, 2),
        (range(1, 101), 0.99, 99),
        (range(1, 101), 0.5, 50),
        (range(1, 201), 0.99, 198),
        ([1, 2, 3], 1.0, 3),
    ],
)
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(
    values: list[float], share: float, found: float
) -> None:
    assert find_percentile(values, share) == found


@pytest.mark.parametrize(
    ("statistic", "limit", "is_met"),
    [
        (Statistic.P50, 2, True),
        (Statistic.P50, 1.9, False),
        (Statistic.MAX, 9, True),
        (Statistic.MAX, 8.9, False),
    ],
)
def test_a_goal_is_about_one_statistic(statistic: Statistic, limit: float, *, is_met: bool) -> None:
    assert Series("a", [1, 2, 9], Goal(statistic, limit)).is_met is is_met


def test_a_series_without_values_is_neither_met_nor_missed() -> None:
    nothing = Series("a, s", [], Goal(Statistic.P50, 1))

    assert nothing.is_met is None
    assert tabulate_series([nothing]).splitlines()[-1] == "| a, s | 0 | – | – | – | p50 ≤ 1 | not measured |"


def test_each_series_is_a_line_with_its_goal() -> None:
    series = [
        Series("quick, ms", [0.5] * 100, Goal(Statistic.P99, 20)),
        Series("slow, s", [1.25, 123.4], Goal(Statistic.MAX, 1)),
        Series("told only", [12.34]),
    ]
    assert tabulate_series(series).splitlines()[2:] == [
        "| quick, ms | 100 | 0.5 | 0.5 | 0.5 | p99 ≤ 20 | met |",
        "| slow, s | 2 | 1.25 | – | 123 | max ≤ 1 | **missed** |",
        "| told only | 1 | 12.3 | – | 12.3 | – |  |",
    ]


def test_a_count_is_right_only_as_it_must_be() -> None:
    counts = [Count("missed", "0", "0"), Count("twice", "1", "0"), Count("connections", "34")]

    assert [one.is_right for one in counts] == [True, False, True]
    assert tabulate_counts(counts).splitlines()[2:] == [
        "| missed | 0 | 0 | met |",
        "| twice | 1 | 0 | **missed** |",
        "| connections | 34 | – |  |",
    ]
