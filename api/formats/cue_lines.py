"""Text cut into parts at the best places, and the lines of a cue."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from api.formats.cue_text import Unit, join_units

# From a start index: the end indices that a part may have, and what each of these parts costs.
PossibleParts = Callable[[int], Iterator[tuple[int, float]]]

# Beside the costs of each `Break`; more lines than needed are never worth it.
_COST_OF_LINE = 100.0
_COST_OF_UNEVEN_LINES = 4.0

_Entry = TypeVar("_Entry")


def cut_cheapest(entries: Sequence[_Entry], possible_parts: PossibleParts) -> list[Sequence[_Entry]]:
    """The `entries` in consecutive parts that together cost least; each one must be possible as a part."""
    costs = [0.0] + [math.inf] * len(entries)
    starts = [0] * len(costs)
    for start in range(len(entries)):
        for end, cost in possible_parts(start):
            if costs[start] + cost < costs[end]:
                costs[end], starts[end] = costs[start] + cost, start
    parts: list[Sequence[_Entry]] = []
    end = len(entries)
    while end:
        parts.append(entries[starts[end] : end])
        end = starts[end]
    return parts[::-1]


def count_lines(units: Iterable[Unit], max_width: int) -> Iterator[int]:
    """For each unit, how many lines are needed down to it."""
    lines, width = 0, max_width
    for unit in units:
        width += unit.width + unit.is_spaced
        if width > max_width or not lines:
            lines, width = lines + 1, unit.width
        yield lines


def break_lines(units: Sequence[Unit], max_width: int) -> tuple[str, ...]:
    """The units in as few lines as can be, broken at a mark where there is one, else about equally long."""
    parts = cut_cheapest(units, lambda start: _possible_lines(units, start, max_width))
    return tuple(join_units(part) for part in parts)


def _possible_lines(units: Sequence[Unit], start: int, max_width: int) -> Iterator[tuple[int, float]]:
    width = -units[start].is_spaced
    for end, unit in enumerate(units[start:], start + 1):
        width += unit.width + unit.is_spaced
        if width > max_width:
            return
        break_cost = unit.break_after if end < len(units) else 0.0
        yield end, _COST_OF_LINE + break_cost + _COST_OF_UNEVEN_LINES * (1 - width / max_width) ** 2
