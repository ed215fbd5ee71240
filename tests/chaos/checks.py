"""The checks: the outcome of each job, the events of each listener, and the cost of each fault."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from tests.chaos.faults import FaultKind
from tests.chaos.injection import Injected
from tests.chaos.listeners import FINAL, Trace
from tests.chaos.mix import Ending
from tests.chaos.records import LoggedEvent, Record

FREES_KEY = frozenset({Ending.CRASH, Ending.CANCELLED, Ending.TIMEOUT})
"""The ends after which a repeated request becomes another job."""

NEW_CLAIM = FINAL | {"started"}
PROGRESSING = NEW_CLAIM | {"progress"}


class Harm(StrEnum):
    """A fault in the outcome of a job."""

    LOST = "lost"  # it was accepted, but has no record
    STUCK = "stuck"  # it is not final
    FAILED = "failed"  # it is final, but its request leads to another end
    DOUBLED = "doubled"  # it became final more than once
    UNREPORTED = "unreported"  # it is final, but has no final event
    WRONG = "wrong"  # its transcript is not that of its audio


@dataclass(frozen=True)
class JobFacts:
    """One accepted job: the expected text, its record, and the text that the api returns.

    `endings` are the ends that its request may lead to.

    `answers` are the texts that its client got during the run. `beginnings` come from streams that broke, or
    whose client disconnected.
    """

    expected: str
    record: Record | None
    text: str | None
    answers: tuple[str, ...] = ()
    beginnings: tuple[str, ...] = ()
    endings: Collection[str] = (Ending.SUCCEEDED,)

    @property
    def is_wrong(self) -> bool:
        """Return whether any text differs from the expected one."""
        return any(one != self.expected for one in (self.text, *self.answers)) or self._began_differently

    @property
    def _began_differently(self) -> bool:
        """Return whether a stream gave other text although its job did not restart."""
        if self.record is None or explains_break(self.record):
            return False
        return not all(self.expected.startswith(one) for one in self.beginnings)


def explains_break(record: Record) -> bool:
    """Return whether a stream of the job may end with an error: the job restarted, or has not succeeded."""
    return record.state != "succeeded" or any(event.type == "requeued" for event in record.events)


def find_harm(facts: JobFacts) -> set[Harm]:
    """Return the faults in the outcome of a job."""
    record = facts.record
    if record is None:
        return {Harm.LOST}
    if record.state not in FINAL:
        return {Harm.STUCK}
    finals = count_final_events(record)
    harm = {Harm.DOUBLED} if finals > 1 else set[Harm]() if finals else {Harm.UNREPORTED}
    if record.ending not in facts.endings:
        return harm | {Harm.FAILED}
    return harm | {Harm.WRONG} if record.state == "succeeded" and facts.is_wrong else harm


def count_final_events(record: Record) -> int:
    """Return how often the job became final: each time logs one event."""
    return sum(event.type in FINAL for event in record.events)


def find_gaps(trace: Trace, record: Record, text: str | None) -> list[str]:
    """Return the faults in the events that a listener read of a final job."""
    problems = []
    order = [_sort_key(event_id) for event_id in trace.ids]
    unordered = [later for earlier, later in pairwise(order) if later <= earlier]
    if unordered:
        problems.append(f"events out of order, or twice: {len(unordered)}")
    missed = {event.event_id for event in record.events} - set(trace.ids)
    if missed:
        problems.append(f"{len(missed)} events missed")
    if sum(name in FINAL for name in trace.names) != 1 or trace.names[-1] not in FINAL:
        problems.append("not exactly one final event at the end")
    if record.state == "succeeded" and " ".join(trace.texts) != text:
        problems.append("the segments are not the transcript")
    return problems


def count_extra_attempts(record: Record) -> int:
    """Return how often the job restarted."""
    return record.worker_losses + record.engine_crashes


def count_renewed(records: Iterable[Record]) -> int:
    """Return how often a request was repeated after its job had ended so that its key was free.

    Each such repeat becomes another job, with a file of the same name.
    """
    by_file: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda one: one.events[0].at_ms):
        by_file[record.file_name].append(record)
    return sum(
        earlier.ending in FREES_KEY and earlier.events[-1].at_ms <= later.events[0].at_ms
        for same in by_file.values()
        for earlier, later in pairwise(same)
    )


def share_out_attempts(records: Mapping[str, Record], faults: Sequence[Injected]) -> list[int]:
    """Return the extra attempts that each fault caused. A group that is lost costs its jobs no attempt.

    An attempt counts for the last fault that hit the worker of this job, once per fault. The lease may end
    after the next fault. Without such a fault, the attempt counts for the last fault of all.
    """
    costs = [0] * len(faults)
    for job_id, record in records.items():
        unblamed = {
            index for index, one in enumerate(faults) if one.fault.is_at_worker and job_id in one.job_ids
        }
        for event in _find_counted(record):
            before = [index for index, fault in enumerate(faults) if fault.began_ms <= event.at_ms]
            likely = [index for index in before if index in unblamed] or before
            unblamed -= set(likely[-1:])
            for index in likely[-1:]:
                costs[index] += 1
    return costs


def _find_counted(record: Record) -> Iterable[LoggedEvent]:
    """Yield each return to the queue after which the number of the attempt is higher."""
    attempt, requeued = 1, None
    for event in record.events:
        if event.type == "requeued":
            requeued = event
        elif event.type == "started":
            if requeued is not None and event.attempt > attempt:
                yield requeued
            attempt, requeued = event.attempt, None


def measure_recovery_s(fault: Injected, records: Mapping[str, Record]) -> float | None:
    """Return the time from the fault until its jobs, or the api, continue; None if no event follows it."""
    if hits_front(fault):
        return _first_after(_all_events(records.values()), fault, frozenset({"queued"}))
    awaited = PROGRESSING if fault.fault.target == "redis" else NEW_CLAIM
    hit = [records[job_id].events for job_id in fault.job_ids if job_id in records]
    if not hit:
        return _first_after(_all_events(records.values()), fault, awaited)
    found = [_first_after(events, fault, awaited) for events in hit]
    return max((one for one in found if one is not None), default=None)


def measure_notice_s(
    fault: Injected, next_ms: float, lease_s: float, records: Mapping[str, Record]
) -> float | None:
    """Return the time from the kill of a worker until its jobs are queued again, without a fault between."""
    if fault.fault.kind is not FaultKind.KILL_WORKER or next_ms < fault.began_ms + (lease_s + 2) * 1000:
        return None
    hit = [records[job_id].events for job_id in fault.job_ids if job_id in records]
    lost = [[event for event in events if event.reason == "worker_lost"] for events in hit]
    found = [_first_after(events, fault, frozenset({"requeued"})) for events in lost]
    return max((one for one in found if one is not None), default=None)


def hits_front(fault: Injected) -> bool:
    """Return whether the fault hit the api, and not a job."""
    return fault.fault.kind.hits_front or fault.fault.target == "api"


def _all_events(records: Iterable[Record]) -> Iterable[LoggedEvent]:
    return (event for record in records for event in record.events)


def _first_after(events: Iterable[LoggedEvent], fault: Injected, types: frozenset[str]) -> float | None:
    since_ms = fault.ended_ms if fault.fault.kind is FaultKind.DISK_FULL else fault.began_ms
    times_ms = [event.at_ms for event in events if event.type in types and event.at_ms > since_ms]
    return (min(times_ms) - fault.began_ms) / 1000 if times_ms else None


def _sort_key(event_id: str) -> tuple[int, ...]:
    return tuple(map(int, event_id.split("-")))
