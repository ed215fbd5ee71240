"""The figures: measured values, the values they are compared with, and their goals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

Metrics = Mapping[str, Sequence[float]]
"""Values by the name of a run, one per round."""


class Comparison(StrEnum):
    """The way in which a figure and its counterpart become one number."""

    HERE = "here"  # the figure itself
    RATIO = "here / against"
    SPEED_UP = "against / here"
    ADDED = "here - against"


class Bound(StrEnum):
    """The side on which the limit of a goal lies."""

    AT_MOST = "≤"
    AT_LEAST = "≥"


@dataclass(frozen=True)
class Goal:
    """A limit for the median of the compared values."""

    limit: float
    comparison: Comparison = Comparison.HERE
    bound: Bound = Bound.AT_MOST

    def is_met_by(self, value: float) -> bool:
        """Return whether `value` is within the limit."""
        return value <= self.limit if self.bound is Bound.AT_MOST else value >= self.limit


@dataclass(frozen=True)
class Spread:
    """The median of values, with the lowest and the highest."""

    median: float
    minimum: float
    maximum: float


def find_spread(values: Sequence[float]) -> Spread:
    """Return the spread of at least one value."""
    return Spread(median(values), min(values), max(values))


@dataclass(frozen=True)
class Figure:
    """One row: values in `unit`, one per round, and the values of the same rounds of the counterpart.

    Without values it could not be measured, and `note` says why.
    """

    name: str
    unit: str
    here: Sequence[float]
    against: Sequence[float] = ()
    counterpart: str = ""
    goal: Goal | None = None
    note: str = ""

    @property
    def compared(self) -> Sequence[float]:
        """The compared values of each round; the values themselves without a counterpart."""
        pairs = list(zip(self.here, self.against, strict=bool(self.against)))
        match self.goal.comparison if self.goal else Comparison.HERE:
            case Comparison.HERE:
                return self.here
            case Comparison.RATIO:
                return [here / against for here, against in pairs]
            case Comparison.SPEED_UP:
                return [against / here for here, against in pairs]
            case Comparison.ADDED:
                return [here - against for here, against in pairs]

    @property
    def is_met(self) -> bool | None:
        """Return whether the goal is met; None without a goal or values."""
        if self.goal is None or not self.compared:
            return None
        return self.goal.is_met_by(find_spread(self.compared).median)


@dataclass(frozen=True)
class Count:
    """A count that must have one value; any other is an error."""

    name: str
    here: int
    must_be: int

    @property
    def is_right(self) -> bool:
        """Return whether the count is right."""
        return self.here == self.must_be


@dataclass(frozen=True)
class Growth:
    """The growth of figures with their work: for each line, values in `unit` at sizes of `axis`."""

    title: str
    axis: str
    unit: str
    lines: Mapping[str, Mapping[float, Sequence[float]]]


@dataclass(frozen=True)
class Shares:
    """The parts of a whole, as medians in `unit`, in order."""

    title: str
    unit: str
    parts: Mapping[str, float]

    @property
    def total(self) -> float:
        """The whole; never 0."""
        return sum(self.parts.values()) or 1.0


@dataclass(frozen=True)
class Findings:
    """All that one subject measured; `notes` describe the measurement."""

    title: str
    notes: str
    figures: Sequence[Figure] = ()
    counts: Sequence[Count] = ()
    growths: Sequence[Growth] = ()
    shares: Sequence[Shares] = ()


def find_percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that a `share` of them does not exceed; there is at least one."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def report_unmeasured(title: str, notes: str, names: Sequence[str], *, reason: str) -> Findings:
    """Return the findings of a subject that this machine cannot measure."""
    return Findings(title, notes, [Figure(name, "", (), note=reason) for name in names])
