"""The job record keeps its promises, on a fake and on a real server, blocking and with asyncio."""

import asyncio
import time
from collections.abc import Iterator
from typing import Protocol, TypeVar

import fakeredis
import pytest
import redis
import redis.asyncio

from shared.audio_format import AudioStart, SeekPoint
from shared.events import (
    Cancelled,
    Event,
    Failed,
    Partial,
    Progress,
    Queued,
    Requeued,
    SegmentDone,
    Started,
    Succeeded,
)
from shared.jobs import (
    Checkpoint,
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
from shared.record.admission import Outcome, submit_job
from shared.record.readings import LOG_START, Absence
from shared.record.scripts import AsyncScriptRunner, RecordCall, ScriptRunner
from shared.record.sweeper import needs_ticket
from shared.transcripts import FinishedWindow, Segment, TokenCounts, TranscriptWarning, WarningCode, Word
from tests.support.record_readings import read_job, read_log
from tests.support.single_claims import beat_claim, claim_job, crash_engine

Answer = TypeVar("Answer")


class Run(Protocol):
    """Runs a script call."""

    def __call__(self, call: RecordCall[Answer], /) -> Answer:
        """The answer of the call."""


TTL_S = 60.0
WARNING = TranscriptWarning(WarningCode.REPETITION, "It said it „twice“.", 0.0, 1.0)
STARTED = Started(attempt=1, engine="whisper", model="base")
SEGMENT = Segment(0.0, 1.5, "grüß 你好", "de", (Word(0.0, 1.5, "grüß"),))


@pytest.fixture(params=["fake", "real", "real with asyncio"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a script call on an empty server."""
    if request.param == "fake":
        yield ScriptRunner(fakeredis.FakeRedis(), "test:").run
        return
    url = request.getfixturevalue("redis_url")
    if request.param == "real":
        with redis.Redis.from_url(url) as connection:
            yield ScriptRunner(connection, "test:").run
        return
    with asyncio.Runner() as loop:
        connection = redis.asyncio.Redis.from_url(url)
        runner = AsyncScriptRunner(connection, "test:")
        yield lambda call: loop.run(runner.run(call))
        loop.run(connection.aclose())


def new_job(job_id: str, priority: Priority = Priority.INTERACTIVE) -> NewJob:
    upload = Upload(job_id, "talk.wav", size_bytes=10, sha256="00", duration_s=3.0)
    return NewJob(job_id, Endpoint.SYNC, priority, upload, TranscriptionRequest(language_hint="de"))


def submit(run: Run, *job_ids: str, priority: Priority = Priority.INTERACTIVE) -> None:
    for job_id in job_ids:
        assert run(submit_job(new_job(job_id, priority))).outcome is Outcome.SUBMITTED


def claim_next(
    run: Run, worker_id: str, *, engine: str = "whisper", model: str = "base", lease_s: float = 30.0
) -> Claim | None:
    return run(claim_job(worker_id, engine=engine, model=model, lease_s=lease_s))


def claim(
    run: Run, worker_id: str = "w1", *, engine: str = "whisper", model: str = "base", lease_s: float = 30.0
) -> Claim:
    claimed = claim_next(run, worker_id, engine=engine, model=model, lease_s=lease_s)
    assert isinstance(claimed, Claim)
    return claimed


def read(run: Run, job_id: str) -> Job:
    job = run(read_job(job_id))
    assert isinstance(job, Job)
    return job


def events_of(run: Run, job_id: str) -> list[Event]:
    page = run(read_log(job_id, after_id=LOG_START))
    assert page is not None
    return [logged.event for logged in page.events]


AUDIO_START = AudioStart(8_192, SeekPoint(8_000, 100, None, 200, 2**40, 44_100, 0), b"\x00\xffstate")


def first_window(text: str = "hello") -> FinishedWindow:
    segment = Segment(0.0, 1.0, text, "en")
    return FinishedWindow((segment,), (WARNING,), window=0, resume_sample=16_000, audio_start=AUDIO_START)


def test_a_submitted_job_is_queued_with_all_that_was_asked_for(run: Run) -> None:
    submit(run, "a", "b")
    job = read(run, "b")
    assert job.state is JobState.QUEUED
    assert job.position == 1
    assert job.request == TranscriptionRequest(language_hint="de")
    assert job.upload.filename == "talk.wav"
    assert events_of(run, "b") == [Queued(position=1)]


def test_a_repeated_submit_does_not_reset_the_job(run: Run) -> None:
    submit(run, "a")
    held = claim(run)
    assert run(submit_job(new_job("a"))).outcome is Outcome.REPEATED
    assert run(beat_claim(held, lease_s=30)) is Directive.GO_ON


def test_jobs_are_claimed_interactive_first_and_in_the_order_they_came(run: Run) -> None:
    submit(run, "batch", priority=Priority.BATCH)
    submit(run, "first", "second")
    assert [claim(run, worker).job_id for worker in ("w1", "w2", "w3")] == ["first", "second", "batch"]
    assert claim_next(run, "w4") is None


def test_a_worker_that_asks_again_gets_the_claim_it_holds(run: Run) -> None:
    submit(run, "a", "b")
    assert claim(run) == claim(run)
    assert read(run, "b").state is JobState.QUEUED


def test_partials_are_replaced_by_the_segments_of_their_window(run: Run) -> None:
    submit(run, "a")
    held = claim(run)
    for delta in ("hel", "lo"):
        assert run(transitions.emit_event(held, Partial(window=0, delta=delta))) is Directive.GO_ON
    assert Partial(window=0, delta="lo") in events_of(run, "a")
    run(transitions.finish_window(held, first_window()))
    told = events_of(run, "a")
    assert told == [
        Queued(position=0),
        STARTED,
        SegmentDone(segment=Segment(0.0, 1.0, "hello", "en")),
        Progress(processed_s=1.0, duration_s=3.0),
    ]


def test_a_window_finished_twice_is_kept_once(run: Run) -> None:
    submit(run, "a")
    held = claim(run)
    for _ in range(2):
        run(transitions.finish_window(held, first_window()))
    job = read(run, "a")
    assert [segment.text for segment in job.segments] == ["hello"]
    assert job.warnings == (WARNING,)
    assert job.processed_s == 1.0


@pytest.mark.parametrize(
    ("state", "failure"),
    [
        (JobState.SUCCEEDED, None),
        (JobState.FAILED, Failure(FailureCode.TIMEOUT, "It took too long.")),
        (JobState.CANCELLED, None),
    ],
)
def test_finished_windows_and_inference_time_are_kept_at_every_end(
    run: Run, state: JobState, failure: Failure | None
) -> None:
    submit(run, "a")
    held = claim(run)
    run(transitions.finish_window(held, first_window(), inference_ms=7))
    run(transitions.emit_event(held, Partial(window=1, delta="void")))
    assert not read(run, "a").is_complete
    run(transitions.finish_job(held, state, failure=failure, inference_ms=9, ttl_s=TTL_S))
    job = read(run, "a")
    assert (job.segments, job.warnings) == (first_window().segments, (WARNING,))
    assert (job.processed_s, job.inference_ms) == (1.0, 9)
    assert job.is_complete is (state is JobState.SUCCEEDED)
    assert Partial(window=1, delta="void") not in events_of(run, "a")


def test_finished_windows_are_kept_of_a_job_that_is_cancelled_in_the_queue(run: Run) -> None:
    submit(run, "a")
    held = claim(run)
    run(transitions.finish_window(held, first_window()))
    run(transitions.yield_job(held, reason="yielded", inference_ms=9))
    run(transitions.cancel_job("a", ttl_s=TTL_S))
    job = read(run, "a")
    assert (job.state, job.inference_ms) == (JobState.CANCELLED, 9)
    assert job.segments == first_window().segments


def test_speech_missing_from_one_window_is_said_of_the_job_whatever_comes_after(run: Run) -> None:
    submit(run, "a")
    incomplete = FinishedWindow((), (WARNING,), window=0, resume_sample=16_000, is_complete=False)
    for _ in range(2):
        run(transitions.finish_window(claim(run), incomplete))
    run(crash_engine(claim(run), ttl_s=TTL_S))
    held = claim(run, "w2")
    run(transitions.finish_window(held, FinishedWindow((SEGMENT,), window=1, resume_sample=32_000)))
    run(transitions.finish_job(held, JobState.SUCCEEDED, ttl_s=TTL_S))
    job = read(run, "a")
    assert not job.is_complete
    assert job.warnings == (WARNING,)
    assert events_of(run, "a")[-1] == Succeeded(is_complete=False, warnings=(WARNING,))


def test_tokens_are_summed_over_all_windows_and_claims_each_window_once(run: Run) -> None:
    submit(run, "a")
    assert read(run, "a").token_counts is None
    finish_counted(run, claim(run), 0, TokenCounts(text_input=9, audio_input=13, output=5))
    run(crash_engine(claim(run), ttl_s=TTL_S))
    held = claim(run, "w2")
    for _ in range(2):
        finish_counted(run, held, 1, TokenCounts(text_input=9, audio_input=26, output=0))
    run(transitions.finish_job(held, JobState.SUCCEEDED, ttl_s=TTL_S))
    assert read(run, "a").token_counts == TokenCounts(text_input=18, audio_input=39, output=5)


@pytest.mark.parametrize("uncounted", [0, 1])
def test_a_window_without_counts_leaves_the_job_without(run: Run, uncounted: int) -> None:
    submit(run, "a")
    held = claim(run)
    for window in range(2):
        finish_counted(run, held, window, None if window == uncounted else TokenCounts(output=5))
    assert read(run, "a").token_counts is None


def finish_counted(run: Run, held: Claim, window: int, counts: TokenCounts | None) -> None:
    finished = FinishedWindow(
        (SEGMENT,), window=window, resume_sample=16_000 * (window + 1), token_counts=counts
    )
    run(transitions.finish_window(held, finished))


def test_a_job_names_the_engine_of_its_last_claim(run: Run) -> None:
    submit(run, "a")
    assert (read(run, "a").engine, read(run, "a").model) == (None, None)
    run(transitions.yield_job(claim(run, model="base"), reason="test"))
    claim(run, "w2", engine="qwen3", model="./Größe „1“")
    job = read(run, "a")
    assert (job.engine, job.model) == ("qwen3", "./Größe „1“")
    assert job.warnings == ()
    assert events_of(run, "a")[-1] == Started(attempt=1, engine="qwen3", model="./Größe „1“")


def test_text_kept_from_another_engine_is_warned_of_with_its_time(run: Run) -> None:
    submit(run, "a")
    clean = FinishedWindow((SEGMENT,), window=0, resume_sample=16_000)
    held = claim(run, "w1", engine="whisper", model="base")
    run(transitions.finish_window(held, clean))
    for worker, model in (("w2", "base"), ("w3", "large"), ("w4", "small")):
        run(transitions.yield_job(held, reason="test"))
        held = claim(run, worker, engine="whisper", model=model)
    run(transitions.finish_window(held, FinishedWindow((), window=1, resume_sample=40_000)))
    run(transitions.yield_job(held, reason="test"))
    claim(run, "w5", engine="qwen3", model="small")
    claim(run, "w5", engine="qwen3", model="small")
    first, second = read(run, "a").warnings
    assert (first.code, first.start_s, first.end_s) == (WarningCode.ENGINE_CHANGED, 0.0, 1.0)
    assert (second.code, second.start_s, second.end_s) == (WarningCode.ENGINE_CHANGED, 1.0, 2.5)
    assert "0.00 s to 1.00 s was decoded by whisper (base)" in first.message
    assert "1.00 s to 2.50 s was decoded by whisper (small)" in second.message


def test_segments_come_back_as_they_were_written(run: Run) -> None:
    submit(run, "a")
    finished = FinishedWindow((SEGMENT,), window=0, resume_sample=24_000)
    run(transitions.finish_window(claim(run), finished))
    assert read(run, "a").segments == (SEGMENT,)
    assert SegmentDone(segment=SEGMENT) in events_of(run, "a")


def test_no_time_in_the_record_exceeds_the_duration_of_the_upload(run: Run) -> None:
    submit(run, "a")
    late = Segment(2.5, 3.4, "the end", "en", (Word(2.5, 2.9, "the"), Word(2.9, 3.4, "end")))
    after = Segment(3.1, 99.0, "of it", "en", (Word(3.1, 99.0, "of it"),))
    warning = TranscriptWarning(WarningCode.REPETITION, "Twice.", 2.0, 3.4)
    finished = FinishedWindow((late, after), (warning,), window=0, resume_sample=54_400)
    run(transitions.finish_window(claim(run), finished))
    job = read(run, "a")
    assert [(one.start_s, one.end_s) for one in job.segments] == [(2.5, 3.0), (3.0, 3.0)]
    words = [word for segment in job.segments for word in segment.words]
    assert [(word.start_s, word.end_s) for word in words] == [(2.5, 2.9), (2.9, 3.0), (3.0, 3.0)]
    assert [one.end_s for one in job.warnings] == [3.0]
    assert Progress(3.0, 3.0) in events_of(run, "a")


def test_a_yielded_job_goes_back_to_its_old_place_and_resumes_behind_its_window(run: Run) -> None:
    submit(run, "a", "b")
    held = claim(run)
    run(transitions.finish_window(held, first_window()))
    run(transitions.emit_event(held, Partial(window=1, delta="void")))
    assert run(transitions.yield_job(held, reason="worker_stopping")) == "requeued"
    assert events_of(run, "a")[-1] == Requeued(reason="worker_stopping")
    assert Partial(window=1, delta="void") not in events_of(run, "a")
    again = claim(run, "w2")
    assert again.job_id == "a"
    assert again.claim_no == held.claim_no + 1
    assert again.attempt == 1
    assert again.checkpoint == Checkpoint(1, 16_000, language="en", audio_start=AUDIO_START)


def test_a_stale_claim_changes_nothing(run: Run) -> None:
    submit(run, "a")
    stale = claim(run)
    run(transitions.yield_job(stale, reason="test"))
    current = claim(run, "w2")
    assert run(beat_claim(stale, lease_s=30)) is Directive.STALE
    assert run(transitions.emit_event(stale, Partial(window=0, delta="x"))) is Directive.STALE
    assert run(transitions.finish_window(stale, first_window())) is Directive.STALE
    assert run(transitions.yield_job(stale, reason="test")) == "stale"
    assert run(crash_engine(stale, ttl_s=TTL_S)) == "stale"
    assert run(transitions.finish_job(stale, JobState.SUCCEEDED, ttl_s=TTL_S)) == "stale"
    assert run(beat_claim(current, lease_s=30)) is Directive.GO_ON
    assert read(run, "a").segments == ()


def test_a_last_window_may_be_kept_in_the_step_that_ends_the_job(run: Run) -> None:
    submit(run, "in steps", "at once")
    window = first_window()
    held = claim(run)
    run(transitions.finish_window(held, window, inference_ms=7))
    run(transitions.emit_event(held, Progress(3.0, 3.0)))
    run(transitions.finish_job(held, JobState.SUCCEEDED, ttl_s=TTL_S))
    held = claim(run)
    call = transitions.succeed_after(held, window, inference_ms=7, ttl_s=TTL_S)
    assert [run(call), run(call)] == ["finished", "already"]

    in_steps, at_once = read(run, "in steps"), read(run, "at once")
    for name in (
        "state",
        "segments",
        "warnings",
        "processed_s",
        "inference_ms",
        "is_complete",
        "token_counts",
    ):
        assert getattr(at_once, name) == getattr(in_steps, name)
    before_end = Progress(1.0, 3.0)
    events = [event for event in events_of(run, "in steps")[1:] if event != before_end]
    assert events_of(run, "at once")[1:] == events


def test_a_cancelled_job_stays_cancelled_after_its_last_window(run: Run) -> None:
    submit(run, "a")
    held = claim(run)
    run(transitions.cancel_job("a", ttl_s=TTL_S))
    call = transitions.succeed_after(held, first_window(), inference_ms=7, ttl_s=TTL_S)
    assert run(call) == "cancelled"
    assert read(run, "a").state is JobState.CANCELLED


def test_a_lost_claim_keeps_no_last_window(run: Run) -> None:
    submit(run, "a")
    lost = claim(run)
    run(transitions.yield_job(lost, reason="test"))
    held = claim(run, "w2")
    assert run(transitions.succeed_after(lost, first_window(), inference_ms=7, ttl_s=TTL_S)) == "stale"
    assert read(run, "a").segments == ()
    assert run(transitions.finish_job(held, JobState.SUCCEEDED, ttl_s=TTL_S)) == "finished"


def test_a_finish_may_be_repeated_and_ends_the_log(run: Run) -> None:
    submit(run, "a")
    held = claim(run)
    assert run(transitions.finish_job(held, JobState.SUCCEEDED, ttl_s=TTL_S)) == "finished"
    assert run(transitions.finish_job(held, JobState.SUCCEEDED, ttl_s=TTL_S)) == "already"
    job = read(run, "a")
    assert job.state is JobState.SUCCEEDED
    assert job.finished_ms is not None
    assert events_of(run, "a")[-1] == Succeeded()
    assert sum(event.is_final for event in events_of(run, "a")) == 1


def test_a_failed_job_says_why(run: Run) -> None:
    submit(run, "a")
    failure = Failure(FailureCode.ENGINE_ERROR, 'it said "no"')
    run(transitions.finish_job(claim(run), JobState.FAILED, failure=failure, ttl_s=TTL_S))
    assert read(run, "a").failure == failure
    assert events_of(run, "a")[-1] == Failed(code=FailureCode.ENGINE_ERROR, message='it said "no"')


def test_a_queued_job_is_cancelled_at_once(run: Run) -> None:
    submit(run, "a")
    assert run(transitions.cancel_job("a", ttl_s=TTL_S)) is JobState.QUEUED
    assert read(run, "a").state is JobState.CANCELLED
    assert events_of(run, "a")[-1] == Cancelled()
    assert claim_next(run, "w1") is None


def test_the_worker_of_a_running_job_is_told_to_cancel(run: Run) -> None:
    submit(run, "a", "b")
    held = claim(run)
    assert run(transitions.cancel_job("a", ttl_s=TTL_S)) is JobState.RUNNING
    assert run(beat_claim(held, lease_s=30)) is Directive.CANCEL
    run(transitions.finish_job(held, JobState.CANCELLED, ttl_s=TTL_S))
    assert read(run, "a").state is JobState.CANCELLED
    assert run(beat_claim(claim(run), lease_s=30)) is Directive.GO_ON


def test_an_unknown_job_is_nowhere(run: Run) -> None:
    assert run(read_job("x")) is None
    assert run(transitions.cancel_job("x", ttl_s=TTL_S)) is Absence.UNKNOWN
    assert run(read_log("x", after_id=LOG_START)) is None
    assert run(transitions.delete_job("x")) is False


def test_only_a_final_job_can_be_deleted(run: Run) -> None:
    submit(run, "a")
    assert run(transitions.delete_job("a")) is False
    run(transitions.finish_job(claim(run), JobState.SUCCEEDED, ttl_s=TTL_S))
    assert run(transitions.delete_job("a")) is True
    assert run(read_job("a")) is None


def test_a_job_whose_lease_expired_is_queued_again_and_fails_at_the_limit(run: Run) -> None:
    submit(run, "a")
    for loss in range(1, transitions.MAX_WORKER_LOSSES + 1):
        assert claim(run, f"w{loss}", lease_s=0.001).attempt == loss
        wait_until_swept(run)
    job = read(run, "a")
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.code is FailureCode.WORKER_LOST


def wait_until_swept(run: Run) -> None:
    deadline = time.monotonic() + 5
    while not run(transitions.sweep_expired_leases(ttl_s=TTL_S)):
        assert time.monotonic() < deadline, "the lease of 1 ms never expired"


def test_a_lease_that_is_beaten_is_not_swept(run: Run) -> None:
    submit(run, "a")
    held = claim(run, lease_s=0.001)
    run(beat_claim(held, lease_s=30))
    assert run(transitions.sweep_expired_leases(ttl_s=TTL_S)) == {}


def test_a_job_that_crashes_the_engine_fails_at_the_limit(run: Run) -> None:
    submit(run, "a")
    outcomes = [run(crash_engine(claim(run), ttl_s=TTL_S)) for _ in range(transitions.MAX_ENGINE_CRASHES)]
    assert outcomes == ["requeued", "requeued", "failed"]
    assert read(run, "a").attempt == 1 + transitions.MAX_ENGINE_CRASHES
    assert events_of(run, "a")[-1].is_final


def test_queued_jobs_without_a_ticket_are_noticed(run: Run) -> None:
    assert run(needs_ticket("transcription")) is False
    submit(run, "a")
    assert run(needs_ticket("transcription")) is True


def test_a_log_is_read_on_from_any_event(run: Run) -> None:
    submit(run, "a")
    claim(run)
    page = run(read_log("a", after_id=LOG_START))
    assert page is not None
    first, second = page.events
    rest = run(read_log("a", after_id=first.event_id))
    assert rest is not None
    assert rest.events == (second,)
    assert rest.state is JobState.RUNNING


def sweep_after(run: Run, connection: redis.Redis, gap_s: float) -> list[str]:
    """Sweep as if the sweep before was so long ago."""
    connection.hincrby("test:lease_clock", "ticked_ms", round(-gap_s * 1000))
    return [*run(transitions.sweep_expired_leases(ttl_s=TTL_S))]


def test_time_without_sweeps_does_not_count_for_a_lease(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        run = ScriptRunner(connection, "test:").run
        run(transitions.sweep_expired_leases(ttl_s=TTL_S))
        submit(run, "a")
        claim(run, lease_s=30)
        assert sweep_after(run, connection, gap_s=3_600) == []


def test_a_lease_that_is_renewed_before_the_first_sweep_after_an_outage_is_no_longer_than_others(
    redis_url: str,
) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        run = ScriptRunner(connection, "test:").run
        run(transitions.sweep_expired_leases(ttl_s=TTL_S))
        submit(run, "a")
        held = claim(run, lease_s=30)
        connection.hincrby("test:lease_clock", "ticked_ms", -3_600_000)
        run(beat_claim(held, lease_s=0.001))
        wait_until_swept(run)


def test_a_lease_expires_though_each_sweep_is_late(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        run = ScriptRunner(connection, "test:").run
        run(transitions.sweep_expired_leases(ttl_s=TTL_S))
        submit(run, "a")
        claim(run, lease_s=30)
        swept = [sweep_after(run, connection, gap_s=60) for _ in range(31)]
    assert ["a"] in swept


def test_a_clock_that_is_set_back_makes_no_lease_longer(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        run = ScriptRunner(connection, "test:").run
        submit(run, "a")
        held = claim(run, lease_s=30)
        run(transitions.sweep_expired_leases(ttl_s=TTL_S))
        sweep_after(run, connection, gap_s=-3_600)
        run(beat_claim(held, lease_s=0.001))
        wait_until_swept(run)
