"""Jobs put on record directly, for tests of what can be done with a job once it is there."""

import uuid

import redis

from shared.jobs import Endpoint, NewJob, Priority, TranscriptionRequest, Upload
from shared.record.admission import submit_job
from shared.record.connection import connect
from shared.record.keys import KEY_PREFIX
from tests.support.server import wait_for


def record_job(redis_url: str, *, key_name: str = "") -> str:
    """Queue a job that belongs to the API key of that name; answers its path."""
    job_id = uuid.uuid4().hex
    upload = Upload(job_id, "a.wav", 10, "ab", 2.0)
    job = NewJob(job_id, Endpoint.JOBS, Priority.BATCH, upload, TranscriptionRequest(), key_name)
    connect(redis_url).run(submit_job(job))
    return f"/v1/jobs/{job_id}"


def pass_lease_time(redis_url: str, seconds: float) -> None:
    """Advance the clock of leases, so that a test need not wait until one expires."""
    clock = f"{KEY_PREFIX}lease_clock"
    with redis.Redis.from_url(redis_url) as record:
        wait_for(lambda: record.hexists(clock, "clock_ms"), what="the first sweep")
        record.hincrby(clock, "clock_ms", round(seconds * 1000))


def read_listener_lease(redis_url: str, job_id: str) -> float | None:
    """The ms of that clock in which the listener lease of a job expires; None where it has no lease."""
    with redis.Redis.from_url(redis_url) as record:
        expires_ms: float | None = record.zscore(f"{KEY_PREFIX}listener_leases", job_id)
    return expires_ms
