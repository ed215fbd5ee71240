"""What was measured: series of values and counts, each beside its goal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

NOTHING = "–"
ENOUGH_FOR_P99 = 100  # of fewer values the 99th percentile is their largest


class Statistic(StrEnum):
    """What of a series its goal is about."""

    P50 = "p50"  # the median
    P99 = "p99"  # what 99 of 100 do not exceed
    MOST = "most"  # the largest value


@dataclass(frozen=True)
class Goal:
    """The most that a statistic may be, in the unit of the series."""

    statistic: Statistic
    limit: float


@dataclass(frozen=True)
class Series:
    """Values of one kind; the name says their unit. Without values it could not be measured."""

    name: str
    values: Sequence[float]
    goal: Goal | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None where there is none, or nothing to tell by."""
        if self.goal is None or not self.values:
            return None
        return self.find(self.goal.statistic) <= self.goal.limit

    def find(self, statistic: Statistic) -> float:
        """A statistic of the values, of which there is one at least."""
        shares = {Statistic.P50: 0.5, Statistic.P99: 0.99, Statistic.MOST: 1.0}
        return find_percentile(self.values, shares[statistic])


@dataclass(frozen=True)
class Count:
    """How often something was seen; with `must_be` it is wrong otherwise."""

    name: str
    here: str
    must_be: str | None = None

    @property
    def is_right(self) -> bool:
        """Whether it is as it must be."""
        return self.must_be is None or self.here == self.must_be


@dataclass(frozen=True)
class Findings:
    """All that one section has measured; `notes` say how, in whole sentences."""

    title: str
    notes: str
    series: Sequence[Series] = ()
    counts: Sequence[Count] = ()


def find_percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values`, which are not none, that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def tabulate_series(series: Iterable[Series]) -> str:
    """A table with one line for each series."""
    head = ("figure", "times", "p50", "p99", "most", "goal", "")
    return tabulate(head, map(_describe_series, series))


def tabulate_counts(counts: Iterable[Count]) -> str:
    """A table with one line for each count."""
    verdicts = {True: "met", False: "**missed**"}
    rows = [
        (one.name, one.here, one.must_be or NOTHING, verdicts[one.is_right] if one.must_be else "")
        for one in counts
    ]
    return tabulate(("what", "count", "goal", ""), rows)


def tabulate(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _describe_series(one: Series) -> tuple[str, ...]:
    goal = f"{one.goal.statistic} ≤ {one.goal.limit:g}" if one.goal else NOTHING
    if not one.values:
        return (one.name, "0", NOTHING, NOTHING, NOTHING, goal, "not measured")
    verdict = {True: "met", False: "**missed**", None: ""}[one.is_met]
    p99 = _write(one.find(Statistic.P99)) if len(one.values) >= ENOUGH_FOR_P99 else NOTHING
    most = _write(one.find(Statistic.MOST))
    return (one.name, str(len(one.values)), _write(one.find(Statistic.P50)), p99, most, goal, verdict)


def _write(value: float) -> str:
    """Three figures or so, and no more than three behind the point."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}".rstrip("0").rstrip(".")
