"""The figures: series of values, and counts, each with its goal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

NOTHING = "–"
ENOUGH_FOR_P99 = 100  # with fewer values the 99th percentile is the largest


class Statistic(StrEnum):
    """The statistic of a series that its goal limits."""

    P50 = "p50"  # the median
    P99 = "p99"  # what 99 of 100 do not exceed
    MAX = "max"  # the largest value


@dataclass(frozen=True)
class Goal:
    """The limit of a statistic, in the unit of the series."""

    statistic: Statistic
    limit: float


@dataclass(frozen=True)
class Series:
    """Values of one kind; the name has their unit. Without values, nothing could be measured."""

    name: str
    values: Sequence[float]
    goal: Goal | None = None

    @property
    def is_met(self) -> bool | None:
        """Return whether the goal is met; None without a goal or values."""
        if self.goal is None or not self.values:
            return None
        return self.find(self.goal.statistic) <= self.goal.limit

    def find(self, statistic: Statistic) -> float:
        """Return a statistic of the values; there is at least one."""
        shares = {Statistic.P50: 0.5, Statistic.P99: 0.99, Statistic.MAX: 1.0}
        return find_percentile(self.values, shares[statistic])


@dataclass(frozen=True)
class Count:
    """A count; with `must_be`, any other value is wrong."""

    name: str
    here: str
    must_be: str | None = None

    @property
    def is_right(self) -> bool:
        """Return whether the count is right."""
        return self.must_be is None or self.here == self.must_be


@dataclass(frozen=True)
class Findings:
    """All figures of one section; `notes` describe the measurement."""

    title: str
    notes: str
    series: Sequence[Series] = ()
    counts: Sequence[Count] = ()


def find_percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that a `share` of them does not exceed; there is at least one."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def tabulate_series(series: Iterable[Series]) -> str:
    """Return a table with one line for each series."""
    head = ("figure", "times", "p50", "p99", "max", "goal", "")
    return tabulate(head, map(_describe_series, series))


def tabulate_counts(counts: Iterable[Count]) -> str:
    """Return a table with one line for each count."""
    verdicts = {True: "met", False: "**missed**"}
    rows = [
        (one.name, one.here, one.must_be or NOTHING, verdicts[one.is_right] if one.must_be else "")
        for one in counts
    ]
    return tabulate(("what", "count", "goal", ""), rows)


def tabulate(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _describe_series(one: Series) -> tuple[str, ...]:
    goal = f"{one.goal.statistic} ≤ {one.goal.limit:g}" if one.goal else NOTHING
    if not one.values:
        return (one.name, "0", NOTHING, NOTHING, NOTHING, goal, "not measured")
    verdict = {True: "met", False: "**missed**", None: ""}[one.is_met]
    p99 = _write(one.find(Statistic.P99)) if len(one.values) >= ENOUGH_FOR_P99 else NOTHING
    most = _write(one.find(Statistic.MAX))
    return (one.name, str(len(one.values)), _write(one.find(Statistic.P50)), p99, most, goal, verdict)


def _write(value: float) -> str:
    """Return about three digits, with at most three decimals."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}".rstrip("0").rstrip(".")
