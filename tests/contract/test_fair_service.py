"""The queue is fair: to API keys, to batch jobs beside interactive ones; on a fake and on a real server."""

import time
from collections.abc import Callable

import pytest
import redis

from shared.capabilities import Capabilities, ModelState, WorkerPresence
from shared.jobs import (
    Claim,
    Directive,
    Endpoint,
    Failure,
    FailureCode,
    Job,
    JobState,
    NewJob,
    Priority,
    TranscriptionRequest,
    Upload,
)
from shared.record import transitions
from shared.record.admission import submit_job
from shared.record.claims import NO_ROOM, Claimant, claim_jobs
from shared.record.scripts import ScriptRunner
from shared.record.workers import announce_worker
from shared.transcripts import FinishedWindow
from tests.support.record_readings import read_job
from tests.support.single_claims import beat_claim, claim_job, crash_engine

TTL_S = 60.0
CAPABILITIES = Capabilities("e", "m", frozenset(), frozenset(), context=False, streaming=False)

CLAIM_INTERACTIVE = claim_job("w", engine="e", model="m", lease_s=30, is_interactive_only=True)


class Queue:
    """A record, and what clients and workers do to it."""

    def __init__(self, connection: "redis.Redis") -> None:
        self.connection = connection
        self.run = ScriptRunner(connection, "test:").run

    def submit(
        self, *job_ids: str, key: str = "", audio_s: float = 10.0, priority: Priority = Priority.INTERACTIVE
    ) -> None:
        for job_id in job_ids:
            upload = Upload(job_id, "a.wav", size_bytes=1, sha256="", duration_s=audio_s)
            self.run(submit_job(NewJob(job_id, Endpoint.JOBS, priority, upload, TranscriptionRequest(), key)))

    def submit_batch(self, *job_ids: str, key: str = "", audio_s: float = 3600.0) -> None:
        self.submit(*job_ids, key=key, audio_s=audio_s, priority=Priority.BATCH)

    def claim(self, worker: str = "w") -> Claim:
        claim = self.run(claim_job(worker, engine="e", model="m", lease_s=30))
        assert claim is not None
        return claim

    def finish(self, claim: Claim) -> None:
        assert self.run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=TTL_S)) == "finished"

    def finish_window(
        self,
        claim: Claim,
        window: int = 0,
        *,
        processed_s: float = 1.0,
        turn_s: float = 0.0,
        used_ms: int = 0,
    ) -> Directive:
        finished = FinishedWindow((), window=window, resume_sample=round(processed_s * 16_000))
        directive = self.run(transitions.finish_window(claim, finished, inference_ms=used_ms))
        if directive is not Directive.GO_ON:
            return directive
        return self.check_yield(claim, turn_s=turn_s)[0]

    def check_yield(self, *held: Claim, turn_s: float = 0.0) -> tuple[Directive, ...]:
        claimant = Claimant("w", "e", "m", lease_s=30, batch_turn_s=turn_s)
        return self.run(claim_jobs(claimant, NO_ROOM, held=held)).directives

    def serve(self, count: int) -> list[str]:
        """Do so many jobs, one window each, and answer which, in order."""
        served = []
        for _ in range(count):
            claim = self.claim()
            served.append(claim.job_id)
            self.finish_window(claim)
            self.finish(claim)
        return served

    def give_back(self, claim: Claim) -> None:
        assert self.run(transitions.yield_job(claim, reason="yielded")) == "requeued"

    def announce(self, worker: str, *, takes_jobs: bool = True) -> None:
        presence = WorkerPresence(worker, CAPABILITIES, ModelState.READY, "cpu", takes_jobs=takes_jobs)
        self.run(announce_worker(presence))

    def read(self, job_id: str) -> Job:
        job = self.run(read_job(job_id))
        assert isinstance(job, Job)
        return job


@pytest.fixture
def queue(record_connection: redis.Redis) -> Queue:
    """An empty queue."""
    return Queue(record_connection)


def test_jobs_of_one_key_are_served_in_the_order_they_came(queue: Queue) -> None:
    jobs = [f"{number}" for number in range(20)]
    for number, job_id in enumerate(jobs):
        queue.submit(job_id, key="lab", audio_s=0.2 + number % 3)
    assert queue.serve(20) == jobs


def test_ties_between_keys_are_served_in_the_order_they_came(queue: Queue) -> None:
    for key in "zyxabc":
        queue.submit(key, key=key)
    assert queue.serve(6) == list("zyxabc")


def test_a_flood_of_one_key_delays_another_key_by_one_job_at_most(queue: Queue) -> None:
    queue.submit(*(f"flood {number}" for number in range(50)), key="flooder")
    running = queue.claim("w1")
    queue.submit("single", key="quiet")
    assert queue.read("single").position == 0
    queue.finish(running)
    assert queue.serve(2) == ["single", "flood 1"]


def test_two_keys_get_the_same_seconds_of_audio_not_the_same_number_of_jobs(queue: Queue) -> None:
    queue.submit(*(f"long {number}" for number in range(4)), key="a", audio_s=30)
    queue.submit(*(f"short {number}" for number in range(12)), key="b", audio_s=10)
    served = queue.serve(16)
    for end in range(1, 17):
        long_s = 30 * sum(name.startswith("long") for name in served[:end])
        short_s = 10 * sum(name.startswith("short") for name in served[:end])
        assert abs(long_s - short_s) <= 30


def test_what_a_key_had_while_nobody_else_waited_is_not_held_against_it(queue: Queue) -> None:
    queue.submit(*"abcdef", key="lab", audio_s=100)
    queue.serve(6)
    queue.submit("first", key="lab")
    queue.submit("second", key="shop")
    assert queue.serve(2) == ["first", "second"]


def test_a_job_that_leaves_the_queue_unserved_costs_its_key_nothing(queue: Queue) -> None:
    queue.submit("running", key="other")
    claim = queue.claim("w1")
    queue.submit("mistake", key="lab", audio_s=100)
    queue.run(transitions.cancel_job("mistake", ttl_s=TTL_S))
    queue.submit("first", key="lab")
    queue.submit("second", key="shop")
    queue.finish(claim)
    assert queue.serve(2) == ["first", "second"]


def test_keys_that_virtual_time_has_passed_keep_no_tag(queue: Queue) -> None:
    for number in range(30):
        queue.submit(f"a{number}", key="steady")
        queue.submit(f"b{number}", key=f"key {number}")
    queue.serve(59)
    assert queue.connection.zcard("test:tags:0") <= 2


@pytest.mark.parametrize("end", ["yield", "crash", "loss"])
def test_a_job_that_goes_back_keeps_its_place(queue: Queue, end: str) -> None:
    queue.submit("a", "b", key="lab")
    queue.submit("c", key="shop")
    claim = queue.claim()
    queue.submit("d", key="late")
    if end == "yield":
        queue.give_back(claim)
    elif end == "crash":
        queue.run(crash_engine(claim, ttl_s=TTL_S))
    else:
        lose_lease(queue, claim)
    assert queue.serve(4) == ["a", "c", "d", "b"]


def lose_lease(queue: Queue, claim: Claim) -> None:
    queue.run(beat_claim(claim, lease_s=0.001))
    deadline = time.monotonic() + 5
    while not queue.run(transitions.sweep_expired_leases(ttl_s=TTL_S)):
        assert time.monotonic() < deadline


def test_a_batch_job_yields_at_its_next_window_when_an_interactive_job_waits(queue: Queue) -> None:
    queue.submit_batch("batch")
    held = queue.claim()
    assert queue.finish_window(held) is Directive.GO_ON
    queue.submit("clip")
    assert queue.run(beat_claim(held, lease_s=30)) is Directive.GO_ON
    assert queue.finish_window(held, 1) is Directive.YIELD
    queue.give_back(held)
    assert queue.serve(1) == ["clip"]
    again = queue.claim()
    assert (again.job_id, again.attempt, again.checkpoint.windows) == ("batch", 1, 2)


def test_an_interactive_job_never_yields(queue: Queue) -> None:
    queue.submit("first", "second")
    queue.submit_batch("batch")
    held = queue.claim()
    assert [queue.finish_window(held, window) for window in range(12)] == [Directive.GO_ON] * 12


def test_a_cancel_goes_before_a_yield(queue: Queue) -> None:
    queue.submit_batch("batch")
    held = queue.claim()
    queue.submit("clip")
    queue.run(transitions.cancel_job("batch", ttl_s=TTL_S))
    assert queue.finish_window(held) is Directive.CANCEL


def test_no_job_yields_to_what_an_idle_worker_will_take(queue: Queue) -> None:
    queue.submit_batch("batch")
    held = queue.claim("w1")
    queue.announce("w1")
    queue.announce("w2")
    queue.submit("clip")
    assert queue.finish_window(held) is Directive.GO_ON
    queue.submit("another")
    assert queue.finish_window(held, 1) is Directive.YIELD


def test_a_worker_that_takes_no_jobs_is_not_counted_on(queue: Queue) -> None:
    queue.submit_batch("batch")
    held = queue.claim("w1")
    queue.announce("w2", takes_jobs=False)
    queue.submit("clip")
    assert queue.finish_window(held) is Directive.YIELD


def test_a_steady_stream_of_interactive_jobs_leaves_batch_one_window_in_ten(queue: Queue) -> None:
    queue.submit_batch("batch")
    windows_of_batch = 0
    order = []
    for number in range(100):
        queue.submit(f"clip {number}")
        claim = queue.claim()
        order.append(claim.job_id)
        if claim.job_id != "batch":
            queue.finish_window(claim)
            queue.finish(claim)
            continue
        assert queue.finish_window(claim, windows_of_batch) is Directive.YIELD
        windows_of_batch += 1
        queue.give_back(claim)
    assert windows_of_batch == 10
    assert order.index("batch") == 9


def test_windows_of_long_interactive_jobs_count_one_by_one(queue: Queue) -> None:
    queue.submit_batch("batch")
    served = {"batch": 0, "interactive": 0}
    for number in range(60):
        queue.submit(f"clip {number}")
        claim = queue.claim()
        if claim.job_id == "batch":
            queue.finish_window(claim, served["batch"])
            served["batch"] += 1
            queue.give_back(claim)
            continue
        for window in range(4):
            queue.finish_window(claim, window)
        served["interactive"] += 4
        queue.finish(claim)
    assert served["batch"] >= served["interactive"] // 9 - 1


def fail_before_a_window(queue: Queue, claim: Claim) -> None:
    failure = Failure(FailureCode.ENGINE_ERROR, "it failed")
    queue.run(transitions.finish_job(claim, JobState.FAILED, failure=failure, ttl_s=TTL_S))


def cancel_before_a_window(queue: Queue, claim: Claim) -> None:
    queue.run(transitions.cancel_job(claim.job_id, ttl_s=TTL_S))
    queue.run(transitions.finish_job(claim, JobState.CANCELLED, ttl_s=TTL_S))


def crash_before_a_window(queue: Queue, claim: Claim) -> None:
    queue.run(crash_engine(claim, ttl_s=TTL_S))


@pytest.mark.parametrize(
    "end",
    [Queue.finish, Queue.give_back, fail_before_a_window, cancel_before_a_window, crash_before_a_window],
)
def test_interactive_claims_that_end_before_a_window_do_not_stop_batch(
    queue: Queue, end: Callable[[Queue, Claim], None]
) -> None:
    queue.submit_batch("batch")
    order = []
    for number in range(10):
        queue.submit(f"silence {number}")
        claim = queue.claim()
        order.append(claim.job_id)
        end(queue, claim)
    assert order.index("batch") == 9


def test_the_window_in_which_a_batch_job_comes_counts(queue: Queue) -> None:
    queue.submit("clip")
    claim = queue.claim()
    queue.submit_batch("batch")
    for window in range(9):
        queue.finish_window(claim, window)
    queue.submit("another")
    assert queue.claim("w2").job_id == "batch"


def test_interactive_windows_are_not_counted_while_no_batch_job_waits(queue: Queue) -> None:
    queue.submit(*(str(number) for number in range(20)))
    queue.serve(20)
    queue.submit_batch("batch")
    queue.submit("clip")
    assert queue.claim().job_id == "clip"


def test_a_worker_can_claim_interactive_jobs_only(queue: Queue) -> None:
    queue.submit_batch("hours")
    interactive = [f"clip {number}" for number in range(12)]
    queue.submit(*interactive)
    claimed = []
    for _ in range(12):
        held = queue.run(CLAIM_INTERACTIVE)
        assert held is not None
        claimed.append(held.job_id)
        queue.finish(held)
    assert claimed == interactive
    assert queue.run(CLAIM_INTERACTIVE) is None
    assert queue.claim().job_id == "hours"


def test_a_batch_job_makes_room_after_its_turn_and_comes_again_in_its_fair_place(queue: Queue) -> None:
    queue.submit_batch("hours", key="lab", audio_s=36_000)
    queue.submit_batch("more hours", key="lab", audio_s=36_000)
    held = queue.claim()
    queue.submit_batch("first", key="shop", audio_s=400)
    queue.submit_batch("second", key="shop", audio_s=400)
    queue.submit_batch("third", key="shop", audio_s=400)
    assert queue.finish_window(held, processed_s=590, turn_s=600) is Directive.GO_ON
    assert queue.finish_window(held, 1, processed_s=620, turn_s=600) is Directive.YIELD
    queue.give_back(held)
    assert queue.serve(2) == ["first", "second"]
    again = queue.claim()
    assert (again.job_id, again.attempt) == ("hours", 1)
    # Its turn begins again, and what waits has had more by now.
    assert queue.finish_window(again, 2, processed_s=700, turn_s=600) is Directive.GO_ON


@pytest.mark.parametrize("key", ["lab", "shop"])
def test_no_batch_job_makes_room_for_nobody_or_for_its_own_key(queue: Queue, key: str) -> None:
    queue.submit_batch("hours", key="lab", audio_s=36_000)
    held = queue.claim()
    if key == "lab":
        queue.submit_batch("more", key=key)
    assert queue.finish_window(held, processed_s=5_000, turn_s=600) is Directive.GO_ON


def place_of(queue: Queue, job_id: str) -> float:
    score = queue.connection.hget(f"test:job:{job_id}", "score")
    assert isinstance(score, bytes)
    return float(score)


def test_the_place_of_a_batch_job_moves_by_what_it_was_served_however_many_windows_told_it_to_yield(
    queue: Queue,
) -> None:
    queue.submit_batch("hours", key="lab", audio_s=6_000)
    queue.submit_batch("more hours", key="lab", audio_s=6_000)
    held = queue.claim()
    queue.submit_batch("other", key="shop", audio_s=60)
    before = place_of(queue, "hours")
    told = [
        queue.finish_window(held, window, processed_s=30.0 * (window + 1), turn_s=600) for window in range(32)
    ]
    assert told == [Directive.GO_ON] * 19 + [Directive.YIELD] * 13
    for _ in range(2):  # repeated, it changes nothing
        assert queue.finish_window(held, 31, processed_s=960, turn_s=600) is Directive.YIELD
    queue.give_back(held)
    assert queue.run(transitions.yield_job(held, reason="yielded")) == "stale"
    assert place_of(queue, "hours") - before == 960 * 2**14
    assert queue.serve(3) == ["other", "hours", "more hours"]


@pytest.mark.parametrize("end", ["crash", "loss"])
def test_a_claim_that_ends_badly_after_its_turn_leaves_the_next_one_a_turn_of_its_own(
    queue: Queue, end: str
) -> None:
    queue.submit_batch("hours", key="lab", audio_s=6_000)
    held = queue.claim()
    queue.submit_batch("other", key="shop", audio_s=6_000)
    before = place_of(queue, "hours")
    assert queue.finish_window(held, processed_s=700, turn_s=600) is Directive.YIELD
    if end == "crash":
        queue.run(crash_engine(held, ttl_s=TTL_S))
    else:
        lose_lease(queue, held)
    again = queue.claim()
    assert again.job_id == "hours"
    assert queue.finish_window(again, 1, processed_s=800, turn_s=600) is Directive.GO_ON
    queue.give_back(again)
    assert place_of(queue, "hours") == before


def test_what_inference_took_is_kept_over_claims(queue: Queue) -> None:
    queue.submit("a")
    first = queue.claim()
    assert first.inference_ms == 0
    queue.finish_window(first, used_ms=700)
    queue.finish_window(first, used_ms=300)  # late or repeated
    queue.run(transitions.yield_job(first, reason="yielded", inference_ms=900))
    second = queue.claim()
    assert second.inference_ms == 900
    queue.run(crash_engine(second, ttl_s=TTL_S, inference_ms=1500))
    assert queue.run(transitions.yield_job(second, reason="stale", inference_ms=9_999)) == "stale"
    assert queue.claim().inference_ms == 1500


def test_a_job_that_nobody_begins_expires_and_one_that_was_begun_does_not(queue: Queue) -> None:
    queue.submit("begun", "waiting")
    queue.give_back(queue.claim())
    assert queue.run(transitions.expire_queued(queue_ttl_s=3600, ttl_s=TTL_S)) == []
    wait_past(queue.read("waiting").created_ms)
    assert queue.run(transitions.expire_queued(queue_ttl_s=0, ttl_s=TTL_S)) == ["waiting"]
    job = queue.read("waiting")
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.code is FailureCode.EXPIRED
    assert queue.run(transitions.expire_queued(queue_ttl_s=0, ttl_s=TTL_S)) == []
    assert queue.claim().job_id == "begun"


def wait_past(created_ms: int) -> None:
    while time.time() * 1000 <= created_ms:
        time.sleep(0.001)
