"""The version of the record: an older record is taken over, and a process refuses any other version."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from shared.errors import IdempotencyKeyReused, QueueUnavailable
from shared.events import Partial, Queued, SegmentDone, Succeeded
from shared.jobs import Endpoint, JobState, NewJob, Priority, TranscriptionRequest, Upload
from shared.record import transitions, version
from shared.record.admission import Fingerprint, find_replay, make_policy, submit_job
from shared.record.keys import KEY_PREFIX, KEY_ROOT, RECORD_VERSION
from shared.record.readings import LOG_START, list_jobs
from shared.record.scripts import ScriptRunner
from shared.record.stream_tokens import read_stream_token
from shared.record.version import RecordVersionMismatch, open_record, require_version
from tests.support.record_readings import read_job, read_log
from tests.support.single_claims import claim_job

OLD_RECORD = Path(__file__).parents[1] / "data" / "record_without_version.json"
VERSION_KEY = f"{KEY_ROOT}version"


def write_old_record(connection: redis.Redis) -> None:
    """Write the record of the release that wrote no version, as it was read from its Redis."""
    for entry in json.loads(OLD_RECORD.read_text()):
        key, value = entry["key"], entry["value"]
        match entry["type"]:
            case "string":
                connection.set(key, value)
            case "hash":
                connection.hset(key, mapping=value)
            case "set":
                connection.sadd(key, *value)
            case "zset":
                connection.zadd(key, dict(value))
            case "list":
                connection.rpush(key, *value)
            case "stream":
                for event_id, event in value:
                    connection.xadd(key, {"event": event}, id=event_id)


@pytest.fixture
def scripts(record_connection: redis.Redis) -> ScriptRunner:
    """Runs calls with the prefix of the product."""
    return ScriptRunner(record_connection, KEY_PREFIX)


def submit(scripts: ScriptRunner, job_id: str) -> None:
    """Submit a job of two seconds."""
    upload = Upload(job_id, "a.wav", 10, "ab", 2.0)
    scripts.run(submit_job(NewJob(job_id, Endpoint.JOBS, Priority.BATCH, upload, TranscriptionRequest())))


@pytest.fixture
def taken_over(record_connection: redis.Redis, scripts: ScriptRunner) -> ScriptRunner:
    """A record of the release without a version, taken over."""
    write_old_record(record_connection)
    assert scripts.run(open_record()) == RECORD_VERSION
    return scripts


def test_an_empty_redis_gets_this_version(scripts: ScriptRunner, record_connection: redis.Redis) -> None:
    require_version(scripts)
    require_version(scripts)
    assert record_connection.get(VERSION_KEY) == str(RECORD_VERSION).encode()


def test_a_newer_record_is_refused_and_left_alone(
    scripts: ScriptRunner, record_connection: redis.Redis
) -> None:
    record_connection.set(VERSION_KEY, RECORD_VERSION + 1)
    with pytest.raises(RecordVersionMismatch, match=rf"has version {RECORD_VERSION + 1}, .* REDIS_URL"):
        require_version(scripts)
    assert record_connection.get(VERSION_KEY) == str(RECORD_VERSION + 1).encode()


@pytest.mark.parametrize("found", ["garbage", "", "2.5"])
def test_a_version_that_is_not_a_number_is_refused(
    found: str, scripts: ScriptRunner, record_connection: redis.Redis
) -> None:
    record_connection.set(VERSION_KEY, found)
    with pytest.raises(RecordVersionMismatch, match=re.escape(f"has version {found!r}")):
        require_version(scripts)


def test_a_record_of_another_version_takes_no_job_and_gives_none_out(
    scripts: ScriptRunner, record_connection: redis.Redis
) -> None:
    submit(scripts, "before")
    record_connection.set(VERSION_KEY, RECORD_VERSION + 1)
    with pytest.raises(QueueUnavailable):
        submit(scripts, "after")
    assert scripts.run(claim_job("w", engine="e", model="m", lease_s=30)) is None


def test_an_old_record_takes_no_job_before_it_is_taken_over(
    scripts: ScriptRunner, record_connection: redis.Redis
) -> None:
    """Redis was away when the process started: its jobs must not meet those that are taken over later."""
    write_old_record(record_connection)
    with pytest.raises(QueueUnavailable):
        submit(scripts, "early")
    require_version(scripts)
    submit(scripts, "late")
    queued = {
        listed.job.job_id for listed in scripts.run(list_jobs(states=[JobState.QUEUED], limit=100)).jobs
    }
    assert "late" in queued
    assert "waiting" in queued


def test_a_record_that_old_processes_use_is_refused_and_left_alone(
    scripts: ScriptRunner, record_connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version, "STOPPING_S", 0)
    write_old_record(record_connection)
    seconds, _ = record_connection.time()
    record_connection.hset(f"{KEY_ROOT}sweeps", "last_ms", seconds * 1000)
    with pytest.raises(RecordVersionMismatch, match="has version 1"):
        require_version(scripts)
    assert record_connection.exists(f"{KEY_ROOT}queued")


def test_a_record_is_taken_over_once_the_old_processes_have_stopped(
    scripts: ScriptRunner, record_connection: redis.Redis
) -> None:
    write_old_record(record_connection)
    seconds, _ = record_connection.time()
    record_connection.hset(f"{KEY_ROOT}sweeps", "last_ms", (seconds - 4) * 1000)
    require_version(scripts)
    assert not record_connection.exists(f"{KEY_ROOT}queued")


def test_jobs_of_an_old_record_are_served_where_they_stopped(taken_over: ScriptRunner) -> None:
    def claim() -> str | None:
        claimed = taken_over.run(claim_job("w2", engine="e", model="m", lease_s=30))
        if claimed is None:
            return None
        checkpoint = claimed.checkpoint
        taken_over.run(transitions.finish_job(claimed, JobState.SUCCEEDED, ttl_s=60))
        return f"{claimed.job_id} from {checkpoint.windows}"

    assert taken_over.run(transitions.sweep_expired_leases(ttl_s=60)) == {"stream": "requeued"}
    assert [claim() for _ in range(5)] == [
        "stream from 0",
        "waiting from 0",
        "resumed from 1",
        "running from 0",
        None,
    ]


def test_jobs_and_events_of_an_old_record_are_readable(taken_over: ScriptRunner) -> None:
    job = taken_over.run(read_job("succeeded"))
    assert job is not None
    assert [segment.text for segment in job.segments] == ["first", "second"]
    assert (job.state, job.metadata, job.inference_ms) == (JobState.SUCCEEDED, {"a": "ü"}, 1_000)
    states = {listed.job.job_id: listed.job.state for listed in taken_over.run(list_jobs(limit=20)).jobs}
    assert states["cancelled"] is JobState.CANCELLED
    assert states["waiting"] is JobState.QUEUED
    assert len(states) == 8
    page = taken_over.run(read_log("succeeded", after_id=LOG_START))
    assert page is not None
    kinds = [type(logged.event) for logged in page.events]
    assert (kinds[0], kinds[-1], kinds.count(SegmentDone)) == (Queued, Succeeded, 2)
    half = taken_over.run(read_log("stream", after_id=LOG_START))
    assert half is not None
    assert half.events[-1].event == Partial(0, "half")


def test_keys_and_tokens_of_an_old_record_hold(taken_over: ScriptRunner) -> None:
    assert taken_over.run(read_stream_token("d" * 64, "waiting")) == "lab"
    assert taken_over.run(read_stream_token("d" * 64, "stream")) is None
    unique = make_policy(key_name="lab", idempotency_key="k2").idempotency_key
    assert unique is not None
    replay = taken_over.run(find_replay(unique, Fingerprint("f-waiting", 60)))
    assert replay is not None
    assert replay.job_id == "waiting"
    with pytest.raises(IdempotencyKeyReused):
        taken_over.run(find_replay(unique, Fingerprint("other", 60)))


@pytest.mark.parametrize("package", ["api", "worker"])
def test_a_process_ends_at_once_where_the_record_is_newer(
    package: str, redis_url: str, tmp_path: Path
) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        connection.set(VERSION_KEY, RECORD_VERSION + 1)
    settings = {"REDIS_URL": redis_url, "DATA_DIR": str(tmp_path), "ENGINE": "scripted", "PORT": "0"}
    command = [sys.executable, "-P", "-m", package]
    ended = subprocess.run(command, env=os.environ | settings, capture_output=True, check=False, text=True)
    assert ended.returncode == 1
    said = ended.stdout + ended.stderr
    assert f"has version {RECORD_VERSION + 1}, and this release needs version {RECORD_VERSION}" in said
    assert "Traceback" not in said
