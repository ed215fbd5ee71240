"""Runs alternate, and the growth of a figure is fitted."""

import math

import pytest

from tests.bench.interleaving import fit_slope, interleave


async def test_runs_alternate_and_every_second_round_is_reversed() -> None:
    order: list[str] = []

    async def run_here() -> float:
        order.append("here")
        return len(order)

    async def run_there() -> float:
        order.append("there")
        return len(order)

    values = await interleave(3, {"here": run_here, "there": run_there})

    assert order == ["here", "there", "there", "here", "here", "there"]
    assert values == {"here": [1, 4, 5], "there": [2, 3, 6]}


@pytest.mark.parametrize(
    ("points", "per_step", "exponent"),
    [
        ({1: [3.0], 2: [6.0], 4: [12.0]}, 3.0, 1.0),
        ({1: [5.0], 10: [5.0, 4.0, 9.0], 60: [5.0]}, 0.0, 0.0),
        ({1: [2.0], 2: [8.0]}, 6.0, 2.0),
    ],
)
def test_the_slope_is_that_of_the_medians(
    points: dict[float, list[float]], per_step: float, exponent: float
) -> None:
    slope = fit_slope(points)

    assert slope is not None
    assert slope.per_step == pytest.approx(per_step)
    assert slope.exponent == pytest.approx(exponent)


def test_one_size_has_no_slope() -> None:
    assert fit_slope({4: [1.0, 2.0]}) is None


def test_values_of_zero_have_no_exponent() -> None:
    slope = fit_slope({1: [0.0], 2: [0.0]})

    assert slope is not None
    assert slope.per_step == 0
    assert math.isnan(slope.exponent)
