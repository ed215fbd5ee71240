"""Interleaved runs, and the slope of figures that grow."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

Run = Callable[[], Awaitable[float]]
One = TypeVar("One")


def order_runs(runs: Sequence[One], number: int) -> Sequence[One]:
    """Return the runs of round `number` in their order: every second round has the reverse one."""
    return runs[:: 1 if number % 2 == 0 else -1]


async def interleave(rounds: int, runs: Mapping[str, Run]) -> dict[str, list[float]]:
    """Return the values of each run, one per round.

    Every second round has the reverse order. So a machine that becomes slower or busier harms all alike.
    """
    values: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in order_runs(list(runs), number):
            values[name].append(await runs[name]())
    return values


@dataclass(frozen=True)
class Slope:
    """The fitted growth: units per step of the axis, and the exponent of the fitted power (1 is linear)."""

    per_step: float
    exponent: float


def fit_slope(points: Mapping[float, Sequence[float]]) -> Slope | None:
    """Return the least squares fit through the medians; None with fewer than two sizes."""
    medians = [(size, median(values)) for size, values in points.items() if values]
    if len(medians) < 2:
        return None
    logarithms = [(math.log(size), math.log(value)) for size, value in medians if size > 0 and value > 0]
    exponent = _fit_line(logarithms) if len(logarithms) > 1 else math.nan
    return Slope(_fit_line(medians), exponent)


def _fit_line(points: Sequence[tuple[float, float]]) -> float:
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else math.nan
