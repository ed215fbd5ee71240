"""Figures are compared with their counterparts and goals, and unmeasured ones are not made up."""

import pytest

from tests.bench.figures import (
    Bound,
    Comparison,
    Count,
    Figure,
    Goal,
    find_percentile,
    find_spread,
    report_unmeasured,
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
    ("comparison", "compared"),
    [
        (Comparison.HERE, [6, 8]),
        (Comparison.RATIO, [3, 2]),
        (Comparison.SPEED_UP, [1 / 3, 0.5]),
        (Comparison.ADDED, [4, 4]),
    ],
)
def test_each_round_is_compared_with_its_counterpart(comparison: Comparison, compared: list[float]) -> None:
    assert Figure("a", "s", [6, 8], [2, 4], goal=Goal(1, comparison)).compared == compared


@pytest.mark.parametrize(
    ("limit", "bound", "is_met"),
    [
        (2.0, Bound.AT_MOST, True),
        (1.9, Bound.AT_MOST, False),
        (2.0, Bound.AT_LEAST, True),
        (2.1, Bound.AT_LEAST, False),
    ],
)
def test_a_goal_limits_the_median(limit: float, bound: Bound, *, is_met: bool) -> None:
    assert Figure("a", "s", [1, 2, 9], goal=Goal(limit, bound=bound)).is_met is is_met


def test_a_figure_without_a_goal_or_values_is_neither_met_nor_missed() -> None:
    (absent,) = report_unmeasured("A title", "How.", ["a"], reason="there is no GPU").figures

    assert Figure("a", "s", [1.0]).is_met is None
    assert absent.is_met is None
    assert absent.note == "there is no GPU"


def test_a_spread_is_the_median_between_the_extremes() -> None:
    spread = find_spread([5, 1, 2])

    assert (spread.median, spread.minimum, spread.maximum) == (2, 1, 5)


def test_a_count_is_right_only_as_it_must_be() -> None:
    assert Count("missed", 0, 0).is_right
    assert not Count("missed", 1, 0).is_right
