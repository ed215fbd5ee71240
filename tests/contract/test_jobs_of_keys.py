"""Jobs belong to API keys, and count against its limit until they are final, however they end."""

import time
from collections.abc import Callable

import pytest

from shared.errors import QueueFull
from shared.jobs import (
    Claim,
    Endpoint,
    Failure,
    FailureCode,
    JobState,
    NewJob,
    Priority,
    TranscriptionRequest,
    Upload,
)
from shared.record import transitions
from shared.record.admission import Outcome, check_admission, make_policy, submit_job
from shared.record.backlog import QueueLimits
from shared.record.readings import LOG_START, Absence, LogPage, find_job, find_log
from shared.record.scripts import ScriptRunner
from tests.support.record_readings import read_job
from tests.support.single_claims import claim_job, crash_engine

UPLOAD = Upload("1", "talk.wav", size_bytes=10, sha256="00", duration_s=3.0)
FAILURE = Failure(FailureCode.ENGINE_ERROR, "it failed")

Runner = ScriptRunner
End = Callable[[Runner, Claim], object]


def new_job(job_id: str, key_name: str = "lab") -> NewJob:
    return NewJob(job_id, Endpoint.JOBS, Priority.BATCH, UPLOAD, TranscriptionRequest(), key_name)


def count_unfinished(runner: Runner, key_name: str) -> int:
    return runner.run(check_admission(make_policy(key_name=key_name))).backlog.unfinished_jobs_of_key


def submit(runner: Runner, job: NewJob, max_unfinished: int) -> Outcome:
    limits = QueueLimits(max_unfinished_jobs_of_key=max_unfinished)
    return runner.run(submit_job(job, make_policy(limits, key_name=job.key_name))).outcome


def claim(runner: Runner, *, lease_s: float = 30.0) -> Claim:
    claimed = runner.run(claim_job("w", engine="whisper", model="base", lease_s=lease_s))
    assert isinstance(claimed, Claim)
    return claimed


def crash(runner: Runner, claimed: Claim) -> None:
    """Let the model process die under the job as often as it may."""
    while runner.run(crash_engine(claimed, ttl_s=60)) != "failed":
        claimed = claim(runner)


def is_seen_by(runner: Runner, job_id: str, owner: str | None) -> bool:
    """Whether the job and its log are read for that owner; they are for the same ones."""
    job = runner.run(find_job(job_id, owner=owner))
    page = runner.run(find_log(job_id, owner=owner, after_id=LOG_START))
    if isinstance(job, Absence):
        assert (job, page) == (Absence.UNKNOWN, Absence.UNKNOWN)
        return False
    assert isinstance(page, LogPage)
    return True


def test_a_job_is_read_for_its_own_key_alone(runner: Runner) -> None:
    runner.run(submit_job(new_job("1")))
    runner.run(submit_job(new_job("2", "")))
    owners = (None, "lab", "shop", "")
    seen = {owner: [is_seen_by(runner, job_id, owner) for job_id in "123"] for owner in owners}
    assert seen == {
        None: [True, True, False],
        "lab": [True, False, False],
        "shop": [False, False, False],
        "": [False, True, False],
    }


def test_a_job_is_cancelled_for_its_own_key_alone(runner: Runner) -> None:
    runner.run(submit_job(new_job("1")))
    assert runner.run(transitions.cancel_job("1", ttl_s=60, owner="shop")) is Absence.UNKNOWN
    assert count_unfinished(runner, "lab") == 1
    assert runner.run(transitions.cancel_job("1", ttl_s=60, owner="lab")) is JobState.QUEUED
    assert count_unfinished(runner, "lab") == 0


def test_a_job_whose_ttl_is_over_is_gone_for_its_own_key_alone(runner: Runner) -> None:
    runner.run(submit_job(new_job("1")))
    runner.run(transitions.finish_job(claim(runner), JobState.SUCCEEDED, ttl_s=0.2))
    while runner.run(read_job("1")):
        time.sleep(0.01)
    for owner, absence in ((None, Absence.GONE), ("lab", Absence.GONE), ("shop", Absence.UNKNOWN)):
        assert runner.run(find_job("1", owner=owner)) is absence
        assert runner.run(find_log("1", owner=owner, after_id=LOG_START)) is absence
        assert runner.run(transitions.cancel_job("1", ttl_s=60, owner=owner)) is absence


def test_a_key_has_no_more_unfinished_jobs_than_its_limit(runner: Runner) -> None:
    for job_id in ("1", "2"):
        assert submit(runner, new_job(job_id), 2) is Outcome.SUBMITTED
    with pytest.raises(QueueFull):
        submit(runner, new_job("3"), 2)
    assert runner.run(read_job("3")) is None
    assert count_unfinished(runner, "lab") == 2
    assert submit(runner, new_job("3", "shop"), 2) is Outcome.SUBMITTED
    runner.run(submit_job(new_job("4", "")))
    assert count_unfinished(runner, "") == 0


def test_a_repeated_submit_is_known_and_counts_once(runner: Runner) -> None:
    assert submit(runner, new_job("1"), 1) is Outcome.SUBMITTED
    assert submit(runner, new_job("1"), 1) is Outcome.REPEATED
    assert count_unfinished(runner, "lab") == 1


def test_a_job_without_a_limit_counts_all_the_same(runner: Runner) -> None:
    runner.run(submit_job(new_job("1")))
    with pytest.raises(QueueFull):
        submit(runner, new_job("2"), 1)


@pytest.mark.parametrize(
    "end",
    [
        lambda runner, claimed: runner.run(transitions.finish_job(claimed, JobState.SUCCEEDED, ttl_s=60)),
        lambda runner, claimed: runner.run(
            transitions.finish_job(claimed, JobState.FAILED, failure=FAILURE, ttl_s=60)
        ),
        lambda runner, claimed: runner.run(transitions.finish_job(claimed, JobState.CANCELLED, ttl_s=60)),
        crash,
    ],
    ids=["succeeded", "failed", "cancelled", "crashed"],
)
def test_a_job_that_is_final_makes_room(runner: Runner, end: End) -> None:
    runner.run(submit_job(new_job("1")))
    end(runner, claim(runner))
    assert count_unfinished(runner, "lab") == 0
    assert submit(runner, new_job("2"), 1) is Outcome.SUBMITTED


def test_a_job_that_is_cancelled_while_it_is_queued_makes_room(runner: Runner) -> None:
    runner.run(submit_job(new_job("1")))
    runner.run(transitions.cancel_job("1", ttl_s=60))
    assert count_unfinished(runner, "lab") == 0


def test_a_job_that_goes_back_to_the_queue_keeps_its_place_and_its_key(runner: Runner) -> None:
    runner.run(submit_job(new_job("1")))
    assert runner.run(transitions.yield_job(claim(runner), reason="stopping")) == "requeued"
    assert count_unfinished(runner, "lab") == 1
    assert is_seen_by(runner, "1", "lab")
    runner.run(transitions.finish_job(claim(runner), JobState.SUCCEEDED, ttl_s=60))
    assert count_unfinished(runner, "lab") == 0
