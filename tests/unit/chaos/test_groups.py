"""The groups of a chaos run are read from the logs of its workers."""

from collections.abc import Iterable

import pytest

from tests.chaos.groups import Crash, GroupLog, count_misplaced_blame


def read(*events: str) -> GroupLog:
    """Read the log of one worker, whose lines have these events and fields."""
    groups = GroupLog()
    groups.add_worker(f"timestamp=2026-11-30T22:00:00Z level=info event={event}" for event in events)
    return groups


def crash(*job_ids: str) -> Crash:
    return frozenset(job_ids)


def test_claims_that_were_held_together_have_companions() -> None:
    groups = read(
        "job_claimed job_id=a jobs=1",
        "job_claimed job_id=b jobs=2",
        "job_ended job_id=a state=succeeded",
        "job_claimed job_id=c jobs=2",
        "job_requeued job_id=b reason=yielded",
        "claim_lost job_id=c",
        "job_claimed job_id=b jobs=1",
    )
    assert (groups.claims, groups.claims_with_companions, groups.largest) == (4, 3, 2)
    assert groups.shared == {"a", "b", "c"}


def test_the_jobs_of_a_batch_are_read() -> None:
    groups = read("batch_decoded rows=5/8 jobs=3 audio_s=9.0", "batch_decoded rows=1/8 jobs=1")
    assert groups.batches == [3, 1]


@pytest.mark.parametrize(
    ("between", "crashes"),
    [
        ([], [crash("a", "b")]),
        (["job_ended job_id=a state=cancelled"], [crash("b")]),
        (["worker_started worker_id=one"], []),
    ],
)
def test_a_crash_has_the_jobs_that_the_worker_held(between: Iterable[str], crashes: list[Crash]) -> None:
    claimed = ("job_claimed job_id=a jobs=2", "job_claimed job_id=b jobs=2")
    assert read(*claimed, *between, "model_process_ended pid=9 reason=died").crashes == crashes


def test_the_end_of_an_unneeded_model_process_does_not_count_as_a_crash() -> None:
    groups = read("job_claimed job_id=a jobs=1", "model_process_ended pid=9 reason=worker_stopping")
    assert groups.crashes == []


def test_blame_is_misplaced_if_the_job_was_not_alone_in_as_many_crashes() -> None:
    crashes = [crash("a", "b"), crash("a"), crash("a"), crash("c")]
    assert count_misplaced_blame(crashes, {"a": 2, "b": 0, "c": 1}) == 0
    assert count_misplaced_blame(crashes, {"a": 3, "b": 1, "c": 0}) == 2
