"""A job with a listener lease is cancelled once the lease has expired, on a fake and on a real server."""

from typing import Any

import pytest
import redis

from shared.jobs import Claim, Directive, Endpoint, JobState, NewJob, Priority, TranscriptionRequest, Upload
from shared.record import transitions
from shared.record.admission import Outcome, submit_job
from shared.record.listeners import (
    RENEWAL_S,
    cancel_unattended,
    choose_lease_s,
    drop_listener_lease,
    renew_listener_leases,
)
from shared.record.scripts import ScriptRunner
from tests.support.record_readings import read_job
from tests.support.single_claims import beat_claim, claim_job

TTL_S = 60.0
LEASE_S = 10.0
JOB = NewJob(
    "7", Endpoint.STREAM, Priority.BATCH, Upload("7", "a.wav", 10, "ab", 2.0), TranscriptionRequest()
)


@pytest.fixture
def job(runner: ScriptRunner) -> str:
    """The id of a queued job with a listener lease of LEASE_S."""
    sweep(runner)
    assert runner.run(submit_job(JOB, listener_lease_s=LEASE_S)).outcome is Outcome.SUBMITTED
    return "7"


def sweep(runner: ScriptRunner) -> list[str]:
    runner.run(transitions.sweep_expired_leases(ttl_s=TTL_S))
    return [*runner.run(cancel_unattended(ttl_s=TTL_S))]


def pass_time(connection: redis.Redis, seconds: float) -> None:
    """Advance the clock of leases."""
    connection.hincrby("test:lease_clock", "clock_ms", round(seconds * 1000))


def claim(runner: ScriptRunner) -> Claim:
    claimed = runner.run(claim_job("w", engine="whisper", model="base", lease_s=30))
    assert claimed is not None
    return claimed


def read_state(runner: ScriptRunner) -> JobState:
    job = runner.run(read_job("7"))
    assert job is not None
    return job.state


def list_leases(connection: redis.Redis) -> list[bytes]:
    leases: Any = connection.zrange("test:listener_leases", 0, -1)
    return list(leases)


def test_a_queued_job_is_cancelled_when_its_lease_has_expired(
    runner: ScriptRunner, record_connection: redis.Redis, job: str
) -> None:
    pass_time(record_connection, LEASE_S)
    assert sweep(runner) == [job]
    assert read_state(runner) is JobState.CANCELLED
    assert list_leases(record_connection) == []


def test_a_running_job_is_stopped_when_its_lease_has_expired(
    runner: ScriptRunner, record_connection: redis.Redis, job: str
) -> None:
    claimed = claim(runner)
    pass_time(record_connection, LEASE_S)
    assert sweep(runner) == [job]
    assert runner.run(beat_claim(claimed, lease_s=30)) is Directive.CANCEL
    assert sweep(runner) == []


def test_a_lease_that_is_renewed_begins_anew(
    runner: ScriptRunner, record_connection: redis.Redis, job: str
) -> None:
    for _ in range(3):
        pass_time(record_connection, LEASE_S / 2)
        assert runner.run(renew_listener_leases([job, "other"])) == 1
        assert sweep(runner) == []
    assert read_state(runner) is JobState.QUEUED


def test_a_job_without_a_lease_gets_none_by_a_renewal(
    runner: ScriptRunner, record_connection: redis.Redis
) -> None:
    runner.run(submit_job(JOB))
    assert runner.run(renew_listener_leases(["7"])) == 0
    assert list_leases(record_connection) == []


def test_a_job_whose_lease_is_dropped_goes_on_without_a_listener(
    runner: ScriptRunner, record_connection: redis.Redis, job: str
) -> None:
    assert runner.run(drop_listener_lease(job))
    assert not runner.run(drop_listener_lease(job))
    assert runner.run(renew_listener_leases([job])) == 0
    pass_time(record_connection, LEASE_S)
    assert sweep(runner) == []


@pytest.mark.parametrize("end", ["succeed", "cancel"])
def test_a_job_that_has_ended_has_no_lease(
    runner: ScriptRunner, record_connection: redis.Redis, job: str, end: str
) -> None:
    if end == "succeed":
        runner.run(transitions.finish_job(claim(runner), JobState.SUCCEEDED, ttl_s=TTL_S))
    else:
        runner.run(transitions.cancel_job(job, ttl_s=TTL_S))
    assert list_leases(record_connection) == []
    assert runner.run(renew_listener_leases([job])) == 0


def test_a_job_keeps_its_lease_when_it_goes_back_to_the_queue(
    runner: ScriptRunner, record_connection: redis.Redis, job: str
) -> None:
    runner.run(transitions.yield_job(claim(runner), reason="yielded"))
    assert list_leases(record_connection) == [job.encode()]


def test_time_in_which_no_lease_could_be_renewed_does_not_count(
    runner: ScriptRunner, record_connection: redis.Redis, job: str
) -> None:
    record_connection.hincrby("test:lease_clock", "ticked_ms", -3_600_000)
    assert sweep(runner) == []
    assert read_state(runner) is JobState.QUEUED
    pass_time(record_connection, LEASE_S)
    assert sweep(runner) == [job]


def test_a_stream_outlasts_its_resume_time_though_one_renewal_failed() -> None:
    assert choose_lease_s(Endpoint.STREAM, resume_s=15) == 15 + 2 * RENEWAL_S
    assert choose_lease_s(Endpoint.STREAM, resume_s=0) == choose_lease_s(Endpoint.SYNC, resume_s=15) > 30
    assert choose_lease_s(Endpoint.JOBS, resume_s=15) == 0
