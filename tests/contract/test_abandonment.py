"""An abandoned job is cancelled when its time is over, unless it was put off until then."""

import pytest
import redis

from shared.jobs import Claim, Directive, Endpoint, JobState, NewJob, Priority, TranscriptionRequest, Upload
from shared.record import transitions
from shared.record.abandonment import abandon_job, cancel_abandoned, list_abandoned, put_cancels_off
from shared.record.admission import submit_job
from shared.record.scripts import ScriptRunner

TTL_S = 60.0
LONG_S = 60.0
UPLOAD = Upload("7", "a.wav", 10, "ab", 2.0)


@pytest.fixture
def job(runner: ScriptRunner) -> str:
    """The id of a queued job."""
    runner.run(submit_job(NewJob("7", Endpoint.STREAM, Priority.BATCH, UPLOAD, TranscriptionRequest())))
    return "7"


def claim(runner: ScriptRunner) -> Claim:
    claimed = runner.run(transitions.claim_job("w", engine="whisper", model="base", lease_s=30))
    assert claimed is not None
    return claimed


def sweep(runner: ScriptRunner) -> list[str]:
    return runner.run(cancel_abandoned(ttl_s=TTL_S))


def read_state(runner: ScriptRunner) -> JobState:
    job = runner.run(transitions.read_job("7"))
    assert job is not None
    return job.state


def test_a_queued_job_is_cancelled_when_its_time_is_over(runner: ScriptRunner, job: str) -> None:
    assert runner.run(abandon_job(job, resume_s=0))
    assert sweep(runner) == [job]
    assert read_state(runner) is JobState.CANCELLED
    assert runner.run(list_abandoned()) == []


def test_a_running_job_is_told_to_stop(runner: ScriptRunner, job: str) -> None:
    claimed = claim(runner)
    runner.run(abandon_job(job, resume_s=0))
    assert sweep(runner) == [job]
    assert runner.run(transitions.beat_claim(claimed, lease_s=30)) is Directive.CANCEL
    assert sweep(runner) == []


def test_nothing_is_cancelled_before_its_time(runner: ScriptRunner, job: str) -> None:
    runner.run(abandon_job(job, resume_s=LONG_S))
    assert sweep(runner) == []
    assert read_state(runner) is JobState.QUEUED
    assert runner.run(list_abandoned()) == [job]


def test_a_job_that_is_followed_is_put_off(runner: ScriptRunner, job: str) -> None:
    runner.run(abandon_job(job, resume_s=0))
    assert runner.run(put_cancels_off([job, "other"], resume_s=LONG_S)) == 1
    assert sweep(runner) == []
    assert read_state(runner) is JobState.QUEUED


def test_following_abandons_nothing(runner: ScriptRunner, job: str) -> None:
    assert runner.run(put_cancels_off([job], resume_s=0)) == 0
    assert sweep(runner) == []
    assert runner.run(list_abandoned()) == []


def test_a_job_that_is_over_or_gone_is_left_as_it_is(runner: ScriptRunner, job: str) -> None:
    claimed = claim(runner)
    runner.run(abandon_job(job, resume_s=0))
    runner.run(transitions.finish_succeeded(claimed, ttl_s=TTL_S))
    assert sweep(runner) == []
    assert read_state(runner) is JobState.SUCCEEDED
    assert runner.run(list_abandoned()) == []
    assert not runner.run(abandon_job(job, resume_s=0))
    assert not runner.run(abandon_job("gone", resume_s=0))
    assert runner.run(list_abandoned()) == []


def test_after_a_standstill_followers_get_the_whole_time_once_more(
    runner: ScriptRunner, record_connection: redis.Redis, job: str
) -> None:
    runner.run(abandon_job(job, resume_s=LONG_S))
    runner.run(put_cancels_off([job], resume_s=0))
    record_connection.hset("test:abandonment", "swept_ms", 0)
    assert sweep(runner) == []
    assert read_state(runner) is JobState.QUEUED
    runner.run(put_cancels_off([job], resume_s=0))
    assert sweep(runner) == [job]


def test_a_time_without_abandoned_jobs_is_no_standstill(
    runner: ScriptRunner, record_connection: redis.Redis, job: str
) -> None:
    record_connection.hset("test:abandonment", "swept_ms", 0)
    runner.run(abandon_job(job, resume_s=0))
    assert sweep(runner) == [job]
