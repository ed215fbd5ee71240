"""The figures of groups: how many jobs shared a worker, and the jobs that each crash was counted against."""

from collections import Counter

from tests.chaos.evidence import NOTHING, Evidence, Figure, some, zero
from tests.chaos.faults import FaultKind
from tests.chaos.groups import Crash, count_misplaced_blame
from tests.chaos.mix import DOOMED, Ending


def measure_groups(evidence: Evidence) -> list[Figure]:
    """Return the figures of all groups.

    Groups are due if a batch has several rows, and crashes if there are jobs that cause them.
    """
    groups, settings = evidence.groups, evidence.settings
    is_group_due = settings.rows > 1
    is_doom_due = is_group_due and settings.doomed > 0 and settings.engine == "scripted"
    caused = [crash for crash in groups.crashes if _list_causes(evidence, crash)]
    in_group = [crash for crash in caused if len(crash) > 1]
    innocent = {job_id for crash in in_group for job_id in crash - _list_causes(evidence, crash)}
    counted = {job_id: record.engine_crashes for job_id, record in evidence.records.items()}
    return [
        some("claims with companions", groups.claims_with_companions, of=groups.claims, is_due=is_group_due),
        Figure("jobs of a worker", f"at most {groups.largest}, in a batch {_mean(groups.batches)}"),
        *_count_doomed(evidence, is_due=is_doom_due),
        some("crashes of a group with a job that causes them", len(in_group), is_due=is_doom_due),
        some("other jobs in these crashes", len(innocent), is_due=is_doom_due),
        zero("crashes counted against a job with companions", count_misplaced_blame(groups.crashes, counted)),
        _compare_with_kills(evidence, len(groups.crashes) - len(caused)),
    ]


def _count_doomed(evidence: Evidence, *, is_due: bool) -> list[Figure]:
    accepted = evidence.books.accepted
    ended = {
        job_id: submit.ending
        for job_id, submit in accepted.items()
        if job_id in evidence.records and evidence.records[job_id].ending == submit.ending
    }
    in_all = Counter(ended.values())
    shared = Counter(ending for job_id, ending in ended.items() if job_id in evidence.groups.shared)
    return [
        some(
            f"jobs that ended by {ending}, with companions", shared[ending], of=in_all[ending], is_due=is_due
        )
        for ending in DOOMED
    ]


def _list_causes(evidence: Evidence, crash: Crash) -> set[str]:
    """Return the jobs among those of a crash that cause one."""
    return {
        job_id
        for job_id in crash
        if job_id in evidence.records and evidence.records[job_id].ending == Ending.CRASH
    }


def _compare_with_kills(evidence: Evidence, crashes: int) -> Figure:
    kills = sum(fault.fault.kind is FaultKind.KILL_MODEL for fault in evidence.faults)
    goal = f"≤ {kills}, the kills"
    return Figure("crashes without such a job", str(crashes), goal, is_met=crashes <= kills)


def _mean(batches: list[int]) -> str:
    return f"{sum(batches) / len(batches):.1f} on average" if batches else NOTHING
