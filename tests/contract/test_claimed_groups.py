"""A worker claims a group of jobs for its next batch; on a fake and on a real server."""

import itertools
import time
from collections.abc import Sequence

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.capabilities import Capabilities, ModelState, WorkerPresence
from shared.events import Requeued
from shared.jobs import (
    Claim,
    Directive,
    Endpoint,
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
from shared.record.claims import (
    NO_ROOM,
    BatchRoom,
    Claimant,
    ClaimedGroup,
    beat_claims,
    claim_jobs,
    count_rows,
)
from shared.record.readings import LOG_START
from shared.record.scripts import ScriptRunner
from shared.record.workers import announce_worker
from shared.transcripts import FinishedWindow
from tests.support.record_readings import read_job, read_log
from tests.support.redis_fixture import RedisServer

TTL_S = 60.0
WINDOW_S = 30.0
CAPABILITIES = Capabilities("e", "m", frozenset(), frozenset(), context=False, streaming=False)
GO_ON, YIELD = Directive.GO_ON, Directive.YIELD


def room(rows: int, *, batch_rows: int | None = None) -> BatchRoom:
    """Return the room of a batch with so many free rows."""
    return BatchRoom(interactive_rows=rows, batch_rows=rows if batch_rows is None else batch_rows)


class Queue:
    """A record, and what clients and workers do to it."""

    def __init__(self, runner: ScriptRunner) -> None:
        self.run = runner.run

    def submit(self, *job_ids: str, windows: float = 1, key: str = "", is_batch: bool = False) -> None:
        for job_id in job_ids:
            upload = Upload(job_id, "a.wav", size_bytes=1, sha256="", duration_s=windows * WINDOW_S)
            priority = Priority.BATCH if is_batch else Priority.INTERACTIVE
            self.run(submit_job(NewJob(job_id, Endpoint.JOBS, priority, upload, TranscriptionRequest(), key)))

    def submit_batch(self, *job_ids: str, windows: int = 100, key: str = "") -> None:
        self.submit(*job_ids, windows=windows, key=key, is_batch=True)

    def call(
        self, free: BatchRoom, *held: Claim, worker: str = "w", turn_s: float = 0.0, lease_s: float = 30.0
    ) -> ClaimedGroup:
        claimant = Claimant(worker, "e", "m", lease_s=lease_s, batch_turn_s=turn_s)
        return self.run(claim_jobs(claimant, free, held=held))

    def claim(self, rows: int, *held: Claim, worker: str = "w", lease_s: float = 30.0) -> tuple[Claim, ...]:
        return self.call(room(rows), *held, worker=worker, lease_s=lease_s).claims

    def crash(self, *claims: Claim) -> tuple[str, ...]:
        return self.run(transitions.report_engine_crash([(claim, 0) for claim in claims], ttl_s=TTL_S))

    def finish_window(self, claim: Claim, *, window: int | None = None) -> Directive:
        number = claim.checkpoint.windows if window is None else window
        finished = FinishedWindow((), window=number, resume_sample=round((number + 1) * WINDOW_S * 16_000))
        return self.run(transitions.finish_window(claim, finished))

    def finish(self, *claims: Claim) -> None:
        for claim in claims:
            assert self.run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=TTL_S)) == "finished"

    def give_back(self, claim: Claim) -> None:
        assert self.run(transitions.yield_job(claim, reason="yielded")) == "requeued"

    def cancel(self, job_id: str) -> None:
        self.run(transitions.cancel_job(job_id, ttl_s=TTL_S))

    def lose(self, *claims: Claim) -> dict[str, str]:
        """Let the leases of these claims expire, and sweep."""
        self.run(beat_claims(claims, lease_s=0.001))
        deadline, swept = time.monotonic() + 5, dict[str, str]()
        while len(swept) < len(claims):
            assert time.monotonic() < deadline
            outcomes = self.run(transitions.sweep_expired_leases(ttl_s=TTL_S))
            swept |= outcomes
        return swept

    def announce(self, *workers: str) -> None:
        for worker in workers:
            self.run(announce_worker(WorkerPresence(worker, CAPABILITIES, ModelState.READY, "cpu")))

    def read(self, job_id: str) -> Job:
        job = self.run(read_job(job_id))
        assert isinstance(job, Job)
        return job


@pytest.fixture
def queue(runner: ScriptRunner) -> Queue:
    """An empty queue."""
    return Queue(runner)


def names(claims: Sequence[Claim]) -> list[str]:
    return [claim.job_id for claim in claims]


def test_a_group_is_claimed_in_the_order_of_the_queue(queue: Queue) -> None:
    queue.submit_batch("file", windows=1)
    queue.submit("first", "second")
    group = queue.claim(8)
    assert names(group) == ["first", "second", "file"]
    assert {queue.read(job_id).state for job_id in ("first", "second", "file")} == {JobState.RUNNING}
    assert queue.claim(8, *group) == ()


def test_a_job_takes_a_row_for_each_window_of_its_audio(queue: Queue) -> None:
    queue.submit("one", "two", windows=3)
    queue.submit("three", windows=2)
    queue.submit("four")
    assert names(queue.claim(8)) == ["one", "two", "three"]
    assert names(queue.claim(1, worker="v")) == ["four"]


def test_a_clip_a_little_longer_than_a_window_takes_one_row(queue: Queue) -> None:
    queue.submit("a", "b", "c", windows=1.09)
    queue.submit("d", windows=1.11)
    queue.submit("e")
    assert names(queue.claim(4)) == ["a", "b", "c", "d"]
    assert names(queue.claim(1, worker="v")) == ["e"]


@pytest.mark.parametrize("audio_s", [0.0, 0.1, 29.9, 30.05, 32.9, 33.1, 60.05, 62.9, 63.1, 3_600.0])
def test_a_worker_counts_the_rows_of_a_job_as_the_record_does(queue: Queue, audio_s: float) -> None:
    queue.submit("job", windows=audio_s / WINDOW_S)
    queue.submit("next")
    rows = count_rows(audio_s, WINDOW_S)
    assert names(queue.claim(rows)) == ["job"]
    queue.submit("again", windows=audio_s / WINDOW_S)
    assert names(queue.claim(rows + 2, worker="v")) == ["next", "again"]


def test_what_is_done_of_a_job_needs_no_rows(queue: Queue) -> None:
    queue.submit("resumed", windows=4)
    (claim,) = queue.claim(1)
    for window in range(3):
        queue.finish_window(claim, window=window)
    queue.give_back(claim)
    queue.submit("next")
    assert names(queue.claim(2)) == ["resumed", "next"]


def test_a_job_with_more_windows_than_rows_takes_all_rows(queue: Queue) -> None:
    queue.submit("clip")
    queue.submit("long", windows=20)
    queue.submit("later")
    assert names(queue.claim(4)) == ["clip", "long"]


def test_a_worker_with_one_row_claims_one_job(queue: Queue) -> None:
    queue.submit("a", "b")
    assert names(queue.claim(1)) == ["a"]


def test_interactive_jobs_ride_along_with_a_file(queue: Queue) -> None:
    queue.submit_batch("file", "other file")
    (file,) = queue.claim(8)
    queue.submit("a", "b")
    group = queue.call(room(7, batch_rows=0), file)
    assert names(group.claims) == ["a", "b"]
    assert group.directives == (GO_ON,)


def test_a_file_claimed_in_the_turn_of_batch_leaves_rows_to_interactive_jobs(queue: Queue) -> None:
    queue.submit_batch("file", "other file")
    for number in range(9):
        queue.submit(f"clip {number}")
        queue.finish(*queue.claim(1))
    queue.submit(*(f"late {number}" for number in range(8)))
    assert names(queue.claim(4)) == ["file", "late 0", "late 1", "late 2"]


def test_a_steady_stream_of_groups_leaves_batch_one_claim_in_ten(queue: Queue) -> None:
    queue.submit_batch(*(f"file {number}" for number in range(20)), windows=1)
    order = []
    for number in range(25):
        queue.submit(*(f"clip {number} {place}" for place in range(4)))
        group = queue.claim(4)
        order += names(group)
        for claim in group:
            queue.finish_window(claim)
        queue.finish(*group)
    assert sum(name.startswith("file") for name in order) == 10


def test_interactive_jobs_alone_are_claimed_where_batch_has_no_room(queue: Queue) -> None:
    queue.submit_batch("file")
    queue.submit(*(f"clip {number}" for number in range(12)))
    group = queue.call(room(20, batch_rows=0)).claims
    assert names(group) == [f"clip {number}" for number in range(12)]


def test_two_workers_never_claim_the_same_job(queue: Queue) -> None:
    queue.submit(*"abcdef")
    assert names(queue.claim(4, worker="v")) == list("abcd")
    assert names(queue.claim(4, worker="w")) == list("ef")


def test_a_claim_whose_answer_was_lost_is_answered_again_and_claims_no_more(queue: Queue) -> None:
    queue.submit(*"abc")
    group = queue.claim(2)
    assert queue.claim(8) == group
    assert queue.claim(8, group[0]) == group[1:]
    assert queue.read("c").state is JobState.QUEUED
    assert names(queue.claim(8, *group)) == ["c"]


def test_a_lost_answer_is_not_repeated_to_a_worker_without_room(queue: Queue) -> None:
    queue.submit("a", "b")
    first, _lost = queue.claim(2)
    assert queue.call(NO_ROOM, first) == ClaimedGroup((), (GO_ON,))


def test_a_claim_that_a_worker_lost_and_got_again_is_answered_with_its_new_fence(queue: Queue) -> None:
    queue.submit("a")
    (stale,) = queue.claim(1)
    queue.give_back(stale)
    (current,) = queue.claim(1)
    group = queue.call(room(1), stale)
    assert (group.claims, group.directives) == ((current,), (Directive.STALE,))


def test_the_directives_are_in_the_order_of_the_held_claims(queue: Queue) -> None:
    queue.submit(*"abc")
    a, b, c = queue.claim(3)
    queue.cancel("b")
    queue.give_back(c)
    assert queue.call(NO_ROOM, c, a, b).directives == (Directive.STALE, GO_ON, Directive.CANCEL)


def test_one_beat_renews_all_leases_and_directs_each_claim(queue: Queue) -> None:
    queue.submit(*"abcd")
    group = queue.claim(4, lease_s=0.001)
    queue.give_back(group[2])
    queue.cancel("b")
    directives = queue.run(beat_claims(group, lease_s=30))
    assert directives == (GO_ON, Directive.CANCEL, Directive.STALE, GO_ON)
    time.sleep(0.005)
    assert queue.run(transitions.sweep_expired_leases(ttl_s=TTL_S)) == {}


def test_a_crash_of_a_group_queues_all_its_jobs_uncounted(queue: Queue) -> None:
    queue.submit("a", "b")
    queue.submit_batch("file", windows=1)
    group = queue.claim(8)
    queue.submit("later")
    assert queue.crash(*group) == ("requeued",) * 3
    assert queue.crash(*group) == ("stale",) * 3
    assert [queue.read(job_id).attempt for job_id in ("a", "b", "file")] == [1, 1, 1]
    page = queue.run(read_log("a", after_id=LOG_START))
    assert page is not None
    assert page.events[-1].event == Requeued(reason="engine_crash")


def test_after_a_crash_of_a_group_only_the_guilty_job_is_counted(queue: Queue) -> None:
    queue.submit("a", "guilty", "b")
    assert queue.crash(*queue.claim(8)) == ("requeued",) * 3
    served = []
    while group := queue.claim(8):
        served.append(names(group))
        if "guilty" in served[-1]:
            queue.crash(*group)
        else:
            queue.finish(*group)
    assert served == [["a"], ["guilty"], ["guilty"], ["guilty"], ["b"]]
    failure = queue.read("guilty").failure
    assert failure is not None
    assert failure.code is FailureCode.ENGINE_CRASH
    assert [queue.read(job_id).attempt for job_id in ("a", "b")] == [1, 1]


def test_a_job_that_was_taken_from_a_group_counts_as_a_companion_of_its_crash(queue: Queue) -> None:
    queue.submit("a", "b")
    group = queue.claim(2)
    queue.give_back(group[0])
    assert queue.crash(*group) == ("stale", "requeued")
    assert queue.read("b").attempt == 1


def test_a_crash_is_not_counted_if_the_process_was_also_at_work_on_another_job(queue: Queue) -> None:
    queue.submit("a", "b")
    (claim,) = queue.claim(1)
    call = transitions.report_engine_crash([(claim, 0)], had_others=True, ttl_s=TTL_S)
    assert queue.run(call) == ("requeued",)
    assert queue.read("a").attempt == 1
    assert names(queue.claim(8)) == ["a"]


def test_cancelled_jobs_of_a_crashed_group_are_cancelled(queue: Queue) -> None:
    queue.submit("a", "b")
    group = queue.claim(2)
    queue.cancel("a")
    assert queue.crash(*group) == ("cancelled", "requeued")
    assert queue.read("a").state is JobState.CANCELLED
    assert names(queue.claim(8)) == ["b"]


def test_inference_time_is_kept_for_each_job_of_a_crashed_group(queue: Queue) -> None:
    queue.submit("a", "b")
    a, b = queue.claim(2)
    queue.run(transitions.report_engine_crash([(a, 700), (b, 300)], ttl_s=TTL_S))
    assert [queue.read(job_id).inference_ms for job_id in ("a", "b")] == [700, 300]


def leave_alone(queue: Queue, *job_ids: str) -> None:
    """Let jobs crash in a group, so that each of them must be claimed alone."""
    queue.crash(*(claim for claim in queue.claim(100) if claim.job_id in job_ids))


def test_a_job_that_must_be_alone_has_companions_after_a_window(queue: Queue) -> None:
    queue.submit("a", "b", windows=2)
    leave_alone(queue, "a", "b")
    queue.submit("c")
    (alone,) = queue.claim(8)
    assert alone.job_id == "a"
    assert queue.claim(7, alone) == ()
    queue.finish_window(alone)
    assert queue.claim(7, alone) == ()  # "b" must be alone, too
    queue.finish(alone)
    (alone,) = queue.claim(8)
    queue.finish_window(alone)
    assert (alone.job_id, names(queue.claim(7, alone))) == ("b", ["c"])


def test_a_job_that_must_be_alone_goes_before_its_class_and_files_yield_to_it(queue: Queue) -> None:
    queue.submit_batch("a", "b", windows=3)
    leave_alone(queue, "a", "b")
    queue.submit_batch("c", windows=3)
    (a,) = queue.claim(8)
    queue.finish_window(a)
    group = queue.call(room(7), a)
    assert (group.claims, group.directives) == ((), (YIELD,))
    queue.give_back(a)
    (b,) = queue.claim(8)
    assert b.job_id == "b"
    queue.finish_window(b)
    group = queue.call(room(6), b)
    assert (names(group.claims), group.directives) == (["a", "c"], (GO_ON,))


def test_no_file_yields_to_a_job_that_an_idle_worker_takes_alone(queue: Queue) -> None:
    queue.submit_batch("a", "b", windows=3)
    leave_alone(queue, "a", "b")
    (a,) = queue.claim(8)
    queue.finish_window(a)
    queue.announce("w", "v")
    assert queue.call(room(7), a).directives == (GO_ON,)


def test_a_job_that_was_alone_when_it_yielded_is_alone_again(queue: Queue) -> None:
    queue.submit("a", "b")
    leave_alone(queue, "a", "b")
    (alone,) = queue.claim(8)
    queue.give_back(alone)
    assert names(queue.claim(8)) == ["a"]


def test_a_lost_worker_counts_for_no_job_of_a_group_and_then_for_each_alone(queue: Queue) -> None:
    queue.submit("a", "b")
    assert queue.lose(*queue.claim(2)) == {"a": "requeued", "b": "requeued"}
    assert queue.read("a").attempt == 1
    for loss in range(1, transitions.MAX_WORKER_LOSSES + 1):
        (alone,) = queue.claim(2, worker=f"w{loss}")
        assert (alone.job_id, alone.attempt) == ("a", loss)
        queue.lose(alone)
    assert queue.read("a").state is JobState.FAILED
    assert queue.read("b").attempt == 1


def test_a_lost_worker_counts_for_no_job_that_has_got_a_companion(queue: Queue) -> None:
    queue.submit_batch("file")
    (file,) = queue.claim(8)
    queue.submit("clip")
    (clip,) = queue.claim(7, file)
    queue.lose(clip)
    queue.lose(file)
    assert [queue.read(job_id).attempt for job_id in ("clip", "file")] == [1, 1]


def test_companions_of_an_earlier_claim_do_not_excuse_a_loss(queue: Queue) -> None:
    queue.submit("a", "b")
    first, second = queue.claim(2)
    queue.give_back(first)
    queue.finish(second)
    queue.lose(*queue.claim(2))
    assert queue.read("a").attempt == 2


def test_the_first_file_of_a_group_stays_and_the_last_ones_yield_to_interactive_jobs(queue: Queue) -> None:
    queue.submit_batch("a", "b", "c", windows=1)
    files = queue.claim(3)
    queue.submit("clip")
    assert queue.call(NO_ROOM, *files).directives == (GO_ON, GO_ON, YIELD)
    queue.submit("d", "e", "f")
    assert queue.call(NO_ROOM, *files).directives == (GO_ON, YIELD, YIELD)


def test_files_of_a_group_do_not_yield_to_jobs_that_idle_workers_take(queue: Queue) -> None:
    queue.submit_batch("a", "b", windows=1)
    files = queue.claim(2)
    queue.announce("w", "v")
    queue.submit("clip")
    assert queue.call(NO_ROOM, *files).directives == (GO_ON, GO_ON)


def test_a_worker_with_any_claim_is_not_idle(queue: Queue) -> None:
    queue.submit_batch("file")
    (file,) = queue.claim(1, worker="w")
    queue.announce("w", "v")
    queue.submit("a", "b")
    other = queue.claim(2, worker="v")
    queue.finish(other[0])
    queue.submit("c")
    assert queue.call(NO_ROOM, file).directives == (YIELD,)
    queue.finish(other[1])
    assert queue.call(NO_ROOM, file).directives == (GO_ON,)


def test_as_many_files_yield_after_their_turn_as_files_wait(queue: Queue) -> None:
    queue.submit_batch("a", "b", key="lab", windows=50)
    group = queue.call(room(100)).claims
    queue.submit_batch("other", key="shop")
    for claim in group:
        queue.finish_window(claim)
    assert queue.call(NO_ROOM, *group, turn_s=60).directives == (GO_ON, GO_ON)
    assert queue.call(NO_ROOM, *group, turn_s=30).directives == (GO_ON, YIELD)


KEYS = st.sampled_from(["", "lab", "shop"])
SUBMITS = st.tuples(KEYS, st.integers(1, 4), st.booleans())
ROWS = st.integers(1, 10)
_prefixes = itertools.count()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(SUBMITS, SUBMITS, ROWS), min_size=5, max_size=40))
def test_jobs_claimed_in_groups_come_in_the_order_of_claims_one_by_one(
    session_redis: RedisServer, steps: list[tuple[str, int, bool] | int]
) -> None:
    with redis.Redis.from_url(session_redis.url) as connection:
        grouped, single = (Queue(ScriptRunner(connection, f"groups-{next(_prefixes)}:")) for _ in range(2))
        for number, step in enumerate(steps):
            if isinstance(step, int):
                claim_both(grouped, single, rows=step)
                continue
            key, windows, is_batch = step
            for queue in (grouped, single):
                queue.submit(str(number), windows=windows, key=key, is_batch=is_batch)


def claim_both(grouped: Queue, single: Queue, *, rows: int) -> None:
    """Claim as many jobs one by one as there are in a group, and finish a window of each."""
    group = grouped.claim(rows)
    claims = [claim for number in range(len(group)) for claim in single.claim(1, worker=str(number))]
    assert names(claims) == names(group)
    for queue, claimed in ((grouped, group), (single, claims)):
        for claim in claimed:
            queue.finish_window(claim)
        queue.finish(*claimed)
