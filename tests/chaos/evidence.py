"""The evidence of a run, and the figures that it is reduced to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.bookkeeping import Books
from tests.chaos.checks import JobFacts
from tests.chaos.groups import GroupLog
from tests.chaos.injection import Injected
from tests.chaos.listeners import Trace
from tests.chaos.mix import Ending
from tests.chaos.records import Record
from tests.chaos.settings import ChaosSettings

NOTHING = "–"


@dataclass(frozen=True)
class Evidence:
    """All facts at the end of a run; `records` has every job, accepted or not."""

    settings: ChaosSettings
    books: Books
    faults: Sequence[Injected]
    facts: Mapping[str, JobFacts]
    records: Mapping[str, Record]
    traces: Sequence[Trace]
    unexpected_ends: Sequence[str]
    groups: GroupLog
    replays: bool
    took_s: float
    disk: str

    @property
    def innocents(self) -> Mapping[str, Record]:
        """The records of all jobs but those that failed since they crash the model process."""
        return {job_id: record for job_id, record in self.records.items() if record.ending != Ending.CRASH}


@dataclass(frozen=True)
class Figure:
    """One line of the outcome; `is_met` is None without a measurement or a goal."""

    name: str
    here: str
    goal: str = NOTHING
    is_met: bool | None = None


def zero(name: str, count: int) -> Figure:
    """Return the figure of a count that must be 0."""
    return Figure(name, str(count), "0", is_met=count == 0)


def at_most(name: str, values: Sequence[float], limit: float, shape: str) -> Figure:
    """Return the figure of the highest of some values, which have a limit."""
    if not values:
        return Figure(name, "not measured", f"≤ {limit:g}")
    return Figure(name, shape.format(max(values)), f"≤ {limit:g}", is_met=max(values) <= limit)


def some(name: str, count: int, *, of: int | None = None, is_due: bool) -> Figure:
    """Return the figure of a count, of a whole if it is named, that must not be 0 if `is_due`."""
    here = str(count) if of is None else f"{count} of {of}"
    return Figure(name, here, "≥ 1", is_met=count > 0) if is_due else Figure(name, here)
