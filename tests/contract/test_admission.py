"""What the submit decides in one step: idempotency keys and limits, on a fake and on a real server."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
import redis

from shared.errors import IdempotencyKeyReused, QueueFull
from shared.jobs import (
    Claim,
    Directive,
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
from shared.record.admission import (
    Fingerprint,
    Outcome,
    Receipt,
    check_admission,
    find_replay,
    make_policy,
    submit_job,
)
from shared.record.backlog import AdmissionLimit, Backlog, QueueLimits, keep_shares
from shared.record.scripts import ScriptCall, ScriptRunner
from shared.transcripts import FinishedWindow
from tests.support.record_readings import read_job
from tests.support.server import wait_for
from tests.support.single_claims import claim_job

SAME, OTHER = Fingerprint("same", 60), Fingerprint("other", 60)


def new_job(job_id: str, *, key_name: str = "", duration_s: float = 10.0) -> NewJob:
    upload = Upload(job_id, "talk.wav", size_bytes=10, sha256="00", duration_s=duration_s)
    return NewJob(job_id, Endpoint.JOBS, Priority.BATCH, upload, TranscriptionRequest(), key_name)


def submit(
    runner: ScriptRunner, job: NewJob, limits: QueueLimits | None = None, fingerprint: Fingerprint = SAME
) -> Receipt:
    """Submit with the idempotency key `k`."""
    terms = make_policy(limits, key_name=job.key_name, idempotency_key="k")
    return runner.run(submit_job(job, terms, fingerprint))


def submit_plainly(runner: ScriptRunner, job: NewJob, limits: QueueLimits | None = None) -> Receipt:
    """Submit without an idempotency key."""
    return runner.run(submit_job(job, make_policy(limits, key_name=job.key_name)))


def claim(runner: ScriptRunner, *, lease_s: float = 30.0) -> Claim:
    claimed = runner.run(claim_job("w", engine="whisper", model="base", lease_s=lease_s))
    assert isinstance(claimed, Claim)
    return claimed


def read_backlog(runner: ScriptRunner, key_name: str = "") -> Backlog:
    return runner.run(check_admission(make_policy(key_name=key_name))).backlog


def fail(runner: ScriptRunner, code: FailureCode) -> None:
    failure = Failure(code, "it failed")
    runner.run(transitions.finish_job(claim(runner), JobState.FAILED, failure=failure, ttl_s=60))


def succeed(runner: ScriptRunner) -> None:
    runner.run(transitions.finish_job(claim(runner), JobState.SUCCEEDED, ttl_s=60))


def cancel(runner: ScriptRunner) -> None:
    runner.run(transitions.cancel_job("1", ttl_s=60))


def cancel_running(runner: ScriptRunner) -> None:
    claim(runner)
    cancel(runner)


def delete(runner: ScriptRunner) -> None:
    succeed(runner)
    runner.run(transitions.delete_job("1"))


def expire(runner: ScriptRunner) -> None:
    assert runner.run(transitions.expire_queued(queue_ttl_s=0, ttl_s=60)) == ["1"]


@pytest.mark.parametrize(
    "become",
    [
        lambda _runner: None,
        claim,
        succeed,
        lambda runner: fail(runner, FailureCode.ENGINE_ERROR),
        lambda runner: fail(runner, FailureCode.AUDIO_UNDECODABLE),
    ],
    ids=["queued", "running", "succeeded", "engine_error", "audio_undecodable"],
)
def test_the_same_request_is_answered_from_the_same_job(
    runner: ScriptRunner, become: Callable[[ScriptRunner], object]
) -> None:
    assert submit(runner, new_job("1")) == Receipt(Outcome.SUBMITTED, new_job("1"))
    become(runner)
    before = read_backlog(runner)
    assert submit(runner, new_job("2")) == Receipt(Outcome.REPLAYED, new_job("1"))
    assert runner.run(read_job("2")) is None
    assert read_backlog(runner) == before
    assert runner.run(find_replay(":k", SAME)) == new_job("1")
    with pytest.raises(IdempotencyKeyReused):
        submit(runner, new_job("3"), fingerprint=OTHER)
    with pytest.raises(IdempotencyKeyReused):
        runner.run(find_replay(":k", OTHER))


@pytest.mark.parametrize(
    "become",
    [
        cancel,
        cancel_running,
        delete,
        expire,
        *(
            lambda runner, code=code: fail(runner, code)
            for code in (FailureCode.TIMEOUT, FailureCode.WORKER_LOST, FailureCode.ENGINE_CRASH)
        ),
    ],
    ids=["cancelled", "cancelling", "deleted", "expired", "timeout", "worker_lost", "engine_crash"],
)
@pytest.mark.parametrize("fingerprint", [SAME, OTHER], ids=["same", "other"])
def test_a_key_is_free_again_where_the_job_is_gone_or_failed_without_fault_of_the_request(
    runner: ScriptRunner, become: Callable[[ScriptRunner], object], fingerprint: Fingerprint
) -> None:
    submit(runner, new_job("1"))
    become(runner)
    assert runner.run(find_replay(":k", fingerprint)) is None
    assert submit(runner, new_job("2"), fingerprint=fingerprint).outcome is Outcome.SUBMITTED
    assert submit(runner, new_job("3"), fingerprint=fingerprint).job == new_job("2")


def test_a_key_is_forgotten_after_its_time(runner: ScriptRunner) -> None:
    submit(runner, new_job("1"), fingerprint=Fingerprint("same", 0.05))
    wait_for(lambda: runner.run(find_replay(":k", SAME)) is None)
    assert submit(runner, new_job("2"), fingerprint=OTHER).outcome is Outcome.SUBMITTED


def test_keys_of_other_callers_are_other_keys(runner: ScriptRunner) -> None:
    for number, key_name in enumerate(["", "lab", "shop"]):
        job = new_job(str(number), key_name=key_name)
        assert submit(runner, job, fingerprint=Fingerprint(key_name, 60)).outcome is Outcome.SUBMITTED


def test_a_submit_that_is_sent_twice_changes_nothing(runner: ScriptRunner) -> None:
    limits = QueueLimits(max_queued_jobs=1)
    submit(runner, new_job("1"), limits)
    before = read_backlog(runner)
    assert submit(runner, new_job("1"), limits).outcome is Outcome.REPEATED
    assert read_backlog(runner) == before


def test_a_full_queue_still_answers_what_it_has(runner: ScriptRunner) -> None:
    limits = QueueLimits(max_queued_jobs=1)
    submit(runner, new_job("1"), limits)
    assert submit(runner, new_job("2"), limits).outcome is Outcome.REPLAYED
    forecast = runner.run(check_admission(make_policy(limits, idempotency_key="k")))
    assert forecast.is_known
    assert forecast.full


def test_a_refused_job_leaves_its_key_free(runner: ScriptRunner) -> None:
    submit_plainly(runner, new_job("1"))
    with pytest.raises(QueueFull):
        submit(runner, new_job("2"), QueueLimits(max_queued_jobs=1))
    assert submit(runner, new_job("3"), fingerprint=OTHER).outcome is Outcome.SUBMITTED


LIMITED = {
    AdmissionLimit.QUEUED_JOBS: QueueLimits(max_queued_jobs=2),
    AdmissionLimit.QUEUED_AUDIO: QueueLimits(max_queued_audio_s=20),
    AdmissionLimit.UNFINISHED_JOBS_OF_KEY: QueueLimits(max_unfinished_jobs_of_key=2),
    AdmissionLimit.QUEUED_AUDIO_OF_KEY: QueueLimits(max_queued_audio_of_key_s=20),
}


@pytest.mark.parametrize("limit", AdmissionLimit)
def test_a_limit_is_reached_and_never_passed(runner: ScriptRunner, limit: AdmissionLimit) -> None:
    limits = LIMITED[limit]
    for job_id in ("1", "2"):
        assert runner.run(check_admission(make_policy(limits, key_name="lab"))).full is None
        submit_plainly(runner, new_job(job_id, key_name="lab"), limits)
    full = runner.run(check_admission(make_policy(limits, key_name="lab"))).full
    assert full
    assert full.limit is limit
    with pytest.raises(QueueFull) as refusal:
        submit_plainly(runner, new_job("3", key_name="lab", duration_s=0.1), limits)
    assert refusal.value.limit is limit
    assert runner.run(read_job("3")) is None
    if limit in (AdmissionLimit.UNFINISHED_JOBS_OF_KEY, AdmissionLimit.QUEUED_AUDIO_OF_KEY):
        submit_plainly(runner, new_job("4", key_name="shop"), limits)


def test_audio_that_only_just_fits_is_taken(runner: ScriptRunner) -> None:
    limits = QueueLimits(max_queued_audio_s=20)
    submit_plainly(runner, new_job("1"), limits)
    with pytest.raises(QueueFull):
        submit_plainly(runner, new_job("2", duration_s=10.01), limits)
    submit_plainly(runner, new_job("3", duration_s=10.0), limits)


def test_where_nothing_waits_one_file_is_taken_whatever_its_length(runner: ScriptRunner) -> None:
    limits = QueueLimits(max_queued_audio_s=20, max_queued_audio_of_key_s=5)
    submit_plainly(runner, new_job("1", key_name="lab", duration_s=3_600), limits)
    with pytest.raises(QueueFull):
        submit_plainly(runner, new_job("2", duration_s=1), limits)
    claim(runner)
    submit_plainly(runner, new_job("3", duration_s=1), limits)


def test_a_job_that_is_begun_makes_room_in_the_queue(runner: ScriptRunner) -> None:
    limits = QueueLimits(max_queued_jobs=1)
    submit_plainly(runner, new_job("1"), limits)
    claim(runner)
    submit_plainly(runner, new_job("2"), limits)


def test_a_job_that_goes_back_counts_with_what_is_left_of_it(runner: ScriptRunner) -> None:
    submit_plainly(runner, new_job("1", key_name="lab", duration_s=10.0))
    claimed = claim(runner)
    runner.run(finish_window(claimed, processed_s=4.0, cost_ms=0))
    assert read_backlog(runner).running_ms / 1000 == 6.0
    runner.run(transitions.yield_job(claimed, reason="stopping"))
    left = read_backlog(runner, "lab")
    assert (left.queued_jobs, left.queued_audio_s, left.running_ms / 1000) == (1, 6.0, 0.0)
    assert left.queued_of_key_ms / 1000 == 6.0


def finish_window(
    claimed: Claim, *, processed_s: float, cost_ms: int, number: int = 0
) -> ScriptCall[Directive]:
    finished = FinishedWindow((), window=number, resume_sample=round(processed_s * 16_000))
    return transitions.finish_window(claimed, finished, cost_ms=cost_ms)


def test_the_speed_is_measured_over_the_windows_of_late(runner: ScriptRunner) -> None:
    submit_plainly(runner, new_job("1", duration_s=1_000))
    claimed = claim(runner)
    assert read_backlog(runner).speed is None
    runner.run(finish_window(claimed, processed_s=8.0, cost_ms=2_000))
    assert read_backlog(runner).speed == pytest.approx(4.0)
    for number in range(1, 100):
        call = finish_window(claimed, processed_s=8.0 + number, cost_ms=1_000, number=number)
        runner.run(call)
        runner.run(call)
    assert read_backlog(runner).speed == pytest.approx(1.0, rel=0.02)


def test_what_a_client_is_told_to_wait_follows_the_measured_speed(runner: ScriptRunner) -> None:
    submit_plainly(runner, new_job("1", duration_s=50))
    claimed = claim(runner)
    limits = QueueLimits(max_queued_jobs=1)
    submit_plainly(runner, new_job("2"), limits)
    with pytest.raises(QueueFull) as before:
        submit_plainly(runner, new_job("3"), limits)
    runner.run(finish_window(claimed, processed_s=10.0, cost_ms=2_000))
    with pytest.raises(QueueFull) as after:
        submit_plainly(runner, new_job("3"), limits)
    assert (before.value.retry_after_s, after.value.retry_after_s) == (50, 8)


def test_of_many_submits_at_once_one_becomes_the_job(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection, ThreadPoolExecutor(20) as pool:
        runner = ScriptRunner(connection, "test:")
        receipts = list(pool.map(lambda number: submit(runner, new_job(str(number))), range(20)))
    assert [receipt.outcome for receipt in receipts].count(Outcome.SUBMITTED) == 1
    assert len({receipt.job.job_id for receipt in receipts}) == 1


def submit_until_full(runner: ScriptRunner, limits: QueueLimits, *, key_name: str, duration_s: float) -> int:
    """Flood the queue, and answer how many jobs it took."""
    for number in range(100):
        try:
            job = new_job(f"{key_name} {number}", key_name=key_name, duration_s=duration_s)
            submit_plainly(runner, job, limits)
        except QueueFull:
            return number
    raise AssertionError


def test_a_flood_of_one_key_leaves_the_shares_of_the_others(runner: ScriptRunner) -> None:
    limits = keep_shares(QueueLimits(max_queued_jobs=40, max_queued_audio_s=1e6), keys=2)
    assert submit_until_full(runner, limits, key_name="lab", duration_s=5) == 36
    assert runner.run(check_admission(make_policy(limits, key_name="shop"))).full is None
    assert submit_until_full(runner, limits, key_name="shop", duration_s=5) == 2
    assert read_backlog(runner).queued_jobs == 38


def test_a_flood_of_audio_leaves_the_shares_of_the_others(runner: ScriptRunner) -> None:
    limits = keep_shares(QueueLimits(max_queued_jobs=1_000, max_queued_audio_s=1_000), keys=2)
    assert submit_until_full(runner, limits, key_name="lab", duration_s=100) == 9
    assert submit_until_full(runner, limits, key_name="shop", duration_s=20) == 2
    assert read_backlog(runner).queued_audio_s == 940


def test_a_key_with_nothing_unfinished_gets_one_file_in_whatever_its_length(runner: ScriptRunner) -> None:
    limits = keep_shares(QueueLimits(max_queued_jobs=2, max_queued_audio_s=100), keys=3)
    assert submit_until_full(runner, limits, key_name="lab", duration_s=10) == 2
    assert submit_until_full(runner, limits, key_name="shop", duration_s=3_600) == 1
    assert submit_until_full(runner, limits, key_name="desk", duration_s=3_600) == 1


def test_own_limits_of_a_key_hold_within_its_share_too(runner: ScriptRunner) -> None:
    limits = keep_shares(QueueLimits(max_queued_jobs=100), keys=2)
    own = msgspec.structs.replace(limits, max_unfinished_jobs_of_key=1)
    assert submit_until_full(runner, own, key_name="shop", duration_s=5) == 1


def test_who_is_refused_beside_the_shares_is_told_when_there_is_room_for_it(runner: ScriptRunner) -> None:
    limits = keep_shares(QueueLimits(max_queued_jobs=20), keys=2)
    submit_plainly(runner, new_job("running", key_name="lab", duration_s=50))
    claimed = claim(runner)
    runner.run(finish_window(claimed, processed_s=10.0, cost_ms=2_000))
    submit_until_full(runner, limits, key_name="lab", duration_s=10)
    # 40 s are left of what runs, at five times real time; then one more job of 10 s has to be begun.
    for full_after_s in (8, 10):
        with pytest.raises(QueueFull) as refusal:
            submit_plainly(runner, new_job("more", key_name="lab"), limits)
        assert refusal.value.retry_after_s == full_after_s
        assert "reserved for API keys" in refusal.value.message
        submit_plainly(runner, new_job("single", key_name="shop"), limits)


@pytest.mark.parametrize("limit", AdmissionLimit)
def test_many_submits_at_once_pass_no_limit(redis_url: str, limit: AdmissionLimit) -> None:
    def try_submit(scripts: ScriptRunner, number: int) -> bool:
        try:
            submit_plainly(scripts, new_job(str(number), key_name="lab"), LIMITED[limit])
        except QueueFull:
            return False
        return True

    with redis.Redis.from_url(redis_url) as connection, ThreadPoolExecutor(20) as pool:
        scripts = ScriptRunner(connection, "test:")
        assert sum(pool.map(lambda number: try_submit(scripts, number), range(40))) == 2
