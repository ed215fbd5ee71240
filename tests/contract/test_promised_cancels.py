"""A promised cancel is kept, whatever the worker does then, on a fake and on a real server."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.broker import create_celery
from shared.events import Cancelled
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
from shared.record.admission import Fingerprint, Outcome, Receipt, make_policy, submit_job
from shared.record.connection import connect
from shared.record.readings import LOG_START
from shared.record.scripts import ScriptRunner
from shared.record.sweeper import Sweeper, list_discarded_uploads
from shared.settings import SharedSettings
from tests.support.record_readings import read_job, read_log
from tests.support.redis_fixture import RedisServer
from tests.support.single_claims import beat_claim, claim_job, crash_engine

TTL_S = 60.0
FAILURE = Failure(FailureCode.ENGINE_ERROR, "it failed")
Ending = Callable[[ScriptRunner, Claim], object]


def submit(runner: ScriptRunner, job_id: str) -> Receipt:
    upload = Upload(job_id, "talk.wav", size_bytes=5, sha256="00", duration_s=10.0)
    job = NewJob(job_id, Endpoint.JOBS, Priority.BATCH, upload, TranscriptionRequest())
    return runner.run(submit_job(job, make_policy(idempotency_key="k"), Fingerprint("same", 60)))


def claim(runner: ScriptRunner) -> Claim:
    claimed = runner.run(claim_job("w", engine="whisper", model="base", lease_s=30))
    assert isinstance(claimed, Claim)
    return claimed


def lose_worker(runner: ScriptRunner, claimed: Claim) -> object:
    runner.run(beat_claim(claimed, lease_s=0.001))
    deadline = time.monotonic() + 5
    while not (lost := runner.run(transitions.sweep_expired_leases(ttl_s=TTL_S))):
        assert time.monotonic() < deadline, "the lease of 1 ms never expired"
    assert [*lost] == ["1"]
    return "cancelled"


def crash(runner: ScriptRunner, claimed: Claim) -> object:
    return runner.run(crash_engine(claimed, ttl_s=TTL_S))


ENDINGS: dict[str, Ending] = {
    "succeed": lambda runner, claimed: runner.run(
        transitions.finish_job(claimed, JobState.SUCCEEDED, ttl_s=TTL_S)
    ),
    "fail": lambda runner, claimed: runner.run(
        transitions.finish_job(claimed, JobState.FAILED, failure=FAILURE, ttl_s=TTL_S)
    ),
    "cancel": lambda runner, claimed: runner.run(
        transitions.finish_job(claimed, JobState.CANCELLED, ttl_s=TTL_S)
    ),
    "yield": lambda runner, claimed: runner.run(transitions.yield_job(claimed, reason="yielded")),
    "crash": crash,
    "lose the worker": lose_worker,
}

endings = pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS.keys())


@endings
def test_a_running_job_that_was_cancelled_ends_so_whatever_its_worker_does(
    runner: ScriptRunner, end: Ending
) -> None:
    submit(runner, "1")
    claimed = claim(runner)
    assert runner.run(transitions.cancel_job("1", ttl_s=TTL_S)) is JobState.RUNNING
    assert end(runner, claimed) == "cancelled"
    assert_cancelled(runner)
    assert runner.run(claim_job("w", engine="whisper", model="base", lease_s=30)) is None


@pytest.mark.parametrize("end", [crash, lose_worker])
def test_it_ends_so_although_its_losses_are_at_the_limit(runner: ScriptRunner, end: Ending) -> None:
    submit(runner, "1")
    for _ in range(2):
        end(runner, claim(runner))
    claimed = claim(runner)
    assert claimed.attempt == 3
    runner.run(transitions.cancel_job("1", ttl_s=TTL_S))
    assert end(runner, claimed) == "cancelled"
    assert_cancelled(runner)


def assert_cancelled(runner: ScriptRunner) -> None:
    job, page = runner.run(read_job("1")), runner.run(read_log("1", after_id=LOG_START))
    assert job is not None
    assert page is not None
    assert (job.state, job.failure) == (JobState.CANCELLED, None)
    assert [logged.event for logged in page.events if logged.event.is_final] == [Cancelled()]


@pytest.mark.parametrize("end", ["succeed", "fail", "cancel"])
def test_a_repeated_finish_gets_the_answer_cancelled_again(runner: ScriptRunner, end: str) -> None:
    submit(runner, "1")
    claimed = claim(runner)
    runner.run(transitions.cancel_job("1", ttl_s=TTL_S))
    assert [ENDINGS[end](runner, claimed) for _ in range(2)] == ["cancelled"] * 2
    assert_cancelled(runner)


@endings
def test_its_idempotency_key_is_free_for_a_new_job(runner: ScriptRunner, end: Ending) -> None:
    submit(runner, "1")
    claimed = claim(runner)
    runner.run(transitions.cancel_job("1", ttl_s=TTL_S))
    end(runner, claimed)
    assert submit(runner, "2").outcome is Outcome.SUBMITTED


@endings
def test_a_sweeper_deletes_its_audio(mortal_redis: RedisServer, tmp_path: Path, end: Ending) -> None:
    # On a server of its own: the sweeper of an api that other tests share would take the job from this one.
    runner = connect(mortal_redis.url)
    settings = SharedSettings(redis_url=mortal_redis.url, data_dir=tmp_path)
    settings.uploads_dir.mkdir()
    for name in ("1", "2"):
        (settings.uploads_dir / name).write_bytes(b"sound")
    submit(runner, "1")
    claimed = claim(runner)
    runner.run(transitions.cancel_job("1", ttl_s=TTL_S))
    end(runner, claimed)
    submit(runner, "2")
    Sweeper(runner, create_celery(mortal_redis.url), settings).sweep()
    assert [path.name for path in settings.uploads_dir.iterdir()] == ["2"]
    assert runner.run(list_discarded_uploads()) == []
