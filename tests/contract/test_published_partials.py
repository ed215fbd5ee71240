"""What a worker tells of an open window is in the log once and in order, whatever Redis fails to answer."""

import random
from collections.abc import Iterator
from typing import TypeVar, cast

import pytest

from api.streams.partial_text import PartialText
from shared.errors import QueueUnavailable
from shared.events import AnyEvent, Loading, Partial, Progress, SegmentDone
from shared.jobs import Claim, Endpoint, NewJob, Priority, TranscriptionRequest, Upload
from shared.record import transitions
from shared.record.admission import submit_job
from shared.record.readings import LOG_START
from shared.record.scripts import ScriptCall, ScriptRunner
from shared.transcripts import FinishedWindow, Segment
from tests.support.record_readings import read_log
from tests.support.single_claims import claim_job
from worker.jobs.recorder import JobRecorder
from worker.jobs.stop_rules import ClaimState

Answer = TypeVar("Answer")

UPLOAD = Upload("a", "a.wav", size_bytes=1, sha256="00", duration_s=9.0)


class FailingRunner:
    """Runs calls, unless it loses one on its way, or its answer on the way back, as `fates` say in turn."""

    def __init__(self, runner: ScriptRunner, fates: Iterator[str]) -> None:
        self._runner = runner
        self._fates = fates

    def run(self, call: ScriptCall[Answer]) -> Answer:
        fate = next(self._fates, "answered")
        if fate == "lost":
            raise QueueUnavailable
        answer = self._runner.run(call)
        if fate == "unanswered":
            raise QueueUnavailable
        return answer


@pytest.fixture
def claim(runner: ScriptRunner) -> Claim:
    """The claim of a job that was just begun."""
    runner.run(submit_job(NewJob("a", Endpoint.SYNC, Priority.INTERACTIVE, UPLOAD, TranscriptionRequest())))
    claimed = runner.run(claim_job("w", engine="scripted", model="m", lease_s=30))
    assert claimed is not None
    return claimed


def record_with(runner: ScriptRunner, claim: Claim, *fates: str) -> JobRecorder:
    failing = cast("ScriptRunner", FailingRunner(runner, iter(fates)))
    return JobRecorder(failing, ClaimState(claim), job_ttl_s=60)


def read_events(runner: ScriptRunner) -> list[AnyEvent]:
    page = runner.run(read_log("a", after_id=LOG_START))
    assert page is not None
    return [logged.event for logged in page.events]


def read_partials(runner: ScriptRunner) -> list[Partial]:
    return [event for event in read_events(runner) if isinstance(event, Partial)]


def finish(window: int, text: str) -> FinishedWindow:
    end_s = float(window + 1)
    segment = Segment(end_s - 1, end_s, text, "en")
    return FinishedWindow((segment,), window=window, resume_sample=int(end_s * 16_000))


def test_what_could_not_be_told_comes_with_the_next_partial(runner: ScriptRunner, claim: Claim) -> None:
    recorder = record_with(runner, claim, "answered", "lost", "lost", "lost")
    for delta, tail in (("one", ""), (" two", "th"), (" three", "fo"), (" four", "fi"), (" five", "si")):
        recorder.emit(Partial(0, delta, tail, "en"))
    assert read_partials(runner) == [
        Partial(0, "one", "", "en"),
        Partial(0, " two", "th", "en"),
        Partial(0, " three four five", "si", "en"),
    ]


def test_a_partial_whose_answer_was_lost_is_not_told_twice(runner: ScriptRunner, claim: Claim) -> None:
    recorder = record_with(runner, claim, "unanswered", "lost", "unanswered")
    for delta in ("one", " two", " three", " four"):
        recorder.emit(Partial(0, delta))
    assert [partial.delta for partial in read_partials(runner)] == ["one", " two three four"]


def test_what_could_not_be_told_of_a_window_ends_with_it(runner: ScriptRunner, claim: Claim) -> None:
    recorder = record_with(runner, claim, "answered", "unanswered", "lost", "unanswered", "answered")
    for delta in ("one", " two", " three"):
        recorder.emit(Partial(0, delta))
    recorder.store_window(finish(0, "one two three"), inference_ms=0, cost_ms=0)
    recorder.emit(Partial(1, "four"))
    recorder.emit(Partial(1, " five"))
    assert [type(event) for event in read_events(runner)[2:]] == [SegmentDone, Progress, Partial, Partial]
    assert [partial.delta for partial in read_partials(runner)] == ["four", " five"]


def test_other_events_that_could_not_be_told_are_left_out(runner: ScriptRunner, claim: Claim) -> None:
    recorder = record_with(runner, claim, "lost", "answered")
    recorder.emit(Loading("weights", 1.0))
    recorder.emit(Partial(0, "one"))
    assert [type(event) for event in read_events(runner)[2:]] == [Partial]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_lost_the_text_never_has_a_hole(runner: ScriptRunner, claim: Claim, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - nothing secret is drawn
    words = [f"{'w' if number else 'W'}{number}" for number in range(40)]
    fates = draw.choices(["answered", "lost", "unanswered"], k=60)
    recorder = record_with(runner, claim, *fates)
    for number, word in enumerate(words):
        recorder.emit(Partial(0, f" {word}" if number else word, "?", "en"))
        text = PartialText(None)
        text.take(read_events(runner))
        assert " ".join(words).startswith(text.settled_text)
    for _ in fates:  # until Redis answers
        recorder.emit(Partial(0, "", "", "en"))
    text = PartialText(None)
    text.take(read_events(runner))
    assert text.text == " ".join(words)


def test_a_new_claim_counts_its_partials_anew(runner: ScriptRunner, claim: Claim) -> None:
    record_with(runner, claim).emit(Partial(0, "void"))
    runner.run(transitions.yield_job(claim, reason="worker_stopping"))
    again = runner.run(claim_job("w2", engine="scripted", model="m", lease_s=30))
    assert again is not None
    recorder = record_with(runner, again)
    recorder.emit(Partial(0, "one"))
    recorder.emit(Partial(0, " two"))
    assert [partial.delta for partial in read_partials(runner)] == ["one", " two"]
