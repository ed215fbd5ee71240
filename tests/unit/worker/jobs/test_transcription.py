"""A job ends in the record however its transcription breaks, and no model process is left at work on it."""

import threading
from pathlib import Path
from typing import cast

import pytest

from shared.capabilities import ModelState
from shared.errors import MediaServiceDown, QueueUnavailable
from shared.events import Progress
from shared.jobs import (
    Checkpoint,
    Claim,
    Directive,
    Endpoint,
    Failure,
    FailureCode,
    Priority,
    TranscriptionRequest,
    Upload,
)
from shared.media.client import MediaService
from shared.record.transitions import FinishedWindow
from shared.transcripts import Segment, TokenCounts, TranscriptWarning, WarningCode
from shared.upload_store import UploadStore
from worker.audio.decoder_start import DecoderStarter
from worker.jobs.clocks import ClockLimits, JobClocks
from worker.jobs.heartbeat import Heartbeat
from worker.jobs.recorder import JobRecorder
from worker.jobs.stop_rules import StopRules
from worker.jobs.transcription import JobTools, Transcription
from worker.model import messages
from worker.model.host import ModelHost, ModelProcessDied

UPLOAD = Upload("a", "a.wav", size_bytes=1, sha256="", duration_s=9.0)
CLAIM = Claim("a", 1, 1, Endpoint.SYNC, Priority.BATCH, UPLOAD, TranscriptionRequest(), Checkpoint())


class FakeRecorder:
    """Notes how a job ended."""

    def __init__(self, outcome: str = "finished") -> None:
        self._outcome = outcome
        self.endings: list[object] = []
        self.kept: list[FinishedWindow] = []
        self.directive = Directive.GO_ON

    def keep_window(self, finished: FinishedWindow) -> Directive:
        self.kept.append(finished)
        return self.directive

    def tell(self, event: object) -> Directive:
        return Directive.GO_ON

    def succeed(self) -> str:
        return self._note("succeeded")

    def fail(self, failure: Failure) -> str:
        return self._note(failure.code)

    def report_crash(self, *, inference_ms: int) -> str:
        return self._note("crashed")

    def give_back(self, reason: str, *, inference_ms: int) -> str:
        return self._note((reason, inference_ms))

    def cancel(self) -> str:
        return self._note("cancelled")

    def _note(self, ending: object) -> str:
        self.endings.append(ending)
        return self._outcome


class RecorderWithoutRedis(FakeRecorder):
    """Gives up on an outage."""

    def keep_window(self, finished: FinishedWindow) -> Directive:
        raise QueueUnavailable


class FakeHost:
    """A model process that reports, or raises, what a test says."""

    def __init__(self, *reports: messages.Report | Exception | None) -> None:
        self.state = ModelState.READY
        self.is_idle = True
        self.is_unloaded = False
        self.is_given_up = False
        self.orders: list[str] = []
        self._reports = list(reports)

    def begin_job(self, claim: Claim, audio_fd: int) -> None:
        pass

    def receive(self, timeout_s: float) -> messages.Report | None:
        report = self._reports.pop(0)
        if isinstance(report, Exception):
            raise report
        return report

    def unload(self) -> None:
        self.is_unloaded = True

    def give_up(self) -> None:
        self.is_given_up = True

    def go_on(self) -> None:
        self.orders.append("go on")

    def stop_job(self) -> None:
        self.orders.append("stop")


class FakeHeartbeat:
    """Remembers the directive noted last."""

    def __init__(self) -> None:
        self.directive = Directive.GO_ON

    def note_directive(self, directive: Directive) -> None:
        self.directive = directive


class FakeMedia:
    """A decoder that starts after so many errors."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.calls = 0

    def decode_into(
        self, path: Path, pipe_fd: int, *, declared_duration_s: float, start_sample: int = 0
    ) -> None:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)


def transcribe(host: FakeHost, media: FakeMedia | None = None) -> list[object]:
    """How the record says that the job ended."""
    return record(host, media).endings


def record(host: FakeHost, media: FakeMedia | None = None) -> FakeRecorder:
    """What was written into the record of the job."""
    recorder = FakeRecorder()
    tools = put_tools_together(host, media or FakeMedia(), Path("uploads"))
    Transcription(CLAIM, tools, cast(JobRecorder, recorder), rules_that_say(Directive.GO_ON)).run()
    return recorder


def put_tools_together(
    host: FakeHost, media: FakeMedia, uploads: Path, heartbeat: FakeHeartbeat | None = None
) -> JobTools:
    return JobTools(
        host=cast(ModelHost, host),
        decoders=DecoderStarter(
            cast(MediaService, media), UploadStore(uploads), patience_s=0.05, retry_s=0.001
        ),
        uploads=UploadStore(uploads),
        heartbeat=cast(Heartbeat, heartbeat or FakeHeartbeat()),
        cancel_grace_s=1,
        stop_grace_s=1,
    )


def rules_that_say(directive: Directive) -> StopRules:
    limits = ClockLimits(inference_s=60, window_s=60, load_s=60)
    clocks = JobClocks(limits, used_ms=0, clock=lambda: 0.0)
    return StopRules(lambda: directive, clocks, is_stopping=threading.Event())


def test_audio_that_is_done_makes_the_job_succeed() -> None:
    assert transcribe(FakeHost(messages.JobDecoded(1))) == ["succeeded"]


@pytest.mark.parametrize("is_complete", [True, False])
def test_whether_a_window_is_complete_is_kept_with_its_warnings_and_counts(*, is_complete: bool) -> None:
    segments = (Segment(0.0, 1.0, "The tide", "en"),)
    warnings = (TranscriptWarning(WarningCode.TRUNCATED, "cut", 0.0, 1.0),)
    counts = TokenCounts(text_input=9, audio_input=13, output=5)
    decoded = messages.WindowDecoded(1, 0, 16_000, segments, warnings, is_complete, counts)
    recorder = record(FakeHost(decoded, messages.JobDecoded(1)))
    assert recorder.kept == [
        FinishedWindow(
            0,
            16_000,
            Progress(1.0, 9.0),
            segments,
            warnings,
            is_complete=is_complete,
            token_counts=counts,
        )
    ]
    assert recorder.endings == ["succeeded"]


def test_what_the_engine_says_of_a_failure_is_recorded() -> None:
    report = messages.JobFailed(1, FailureCode.AUDIO_UNDECODABLE, "garbage")
    assert transcribe(FakeHost(report)) == [FailureCode.AUDIO_UNDECODABLE]


def test_a_model_that_cannot_be_loaded_fails_the_job_and_leaves_no_process() -> None:
    host = FakeHost(messages.LoadFailed("no weights"))
    assert transcribe(host) == [FailureCode.MODEL_UNAVAILABLE]
    assert host.is_unloaded


def test_a_model_process_that_vanishes_counts_as_a_crash() -> None:
    assert transcribe(FakeHost(ModelProcessDied())) == ["crashed"]


def test_an_error_of_our_own_counts_as_a_crash_and_leaves_no_process_at_work() -> None:
    host = FakeHost(RuntimeError("a bug"))
    assert transcribe(host) == ["crashed"]
    assert host.is_given_up


WINDOWS = [
    messages.WindowDecoded(1, index, (index + 1) * 16_000, (), (), is_complete=True) for index in range(3)
]


def test_an_engine_goes_on_when_all_it_has_decoded_is_kept() -> None:
    host = FakeHost(*WINDOWS[:2], messages.BatchDecoded(1), WINDOWS[2], messages.JobDecoded(1))
    recorder = record(host)
    assert host.orders == ["go on"]
    assert [finished.window for finished in recorder.kept] == [0, 1, 2]


def test_a_job_that_yields_keeps_every_window_that_was_decoded_and_the_process() -> None:
    host = FakeHost(*WINDOWS, messages.JobStopped(1))
    recorder, heartbeat, clock = FakeRecorder(), FakeHeartbeat(), Clock()
    recorder.directive = Directive.YIELD
    tools = put_tools_together(host, FakeMedia(), Path("uploads"), heartbeat)
    limits = ClockLimits(inference_s=60, window_s=60, load_s=60)
    clocks = JobClocks(limits, used_ms=500, clock=clock)
    rules = StopRules(lambda: heartbeat.directive, clocks, is_stopping=threading.Event())
    Transcription(CLAIM, tools, cast(JobRecorder, recorder), rules).run()
    assert host.orders == ["stop"]
    assert [finished.window for finished in recorder.kept] == [0, 1, 2]
    first_ms, *_, last_ms = [finished.inference_ms for finished in recorder.kept]
    ((reason, inference_ms),) = cast(list[tuple[str, int]], recorder.endings)
    assert reason == "yielded"
    assert 500 < first_ms < last_ms < inference_ms
    assert not host.is_unloaded


def test_an_engine_that_stands_still_loses_its_process_and_counts_as_crashed() -> None:
    host = FakeHost(*[None] * 1000)
    clock = Clock()
    clocks = JobClocks(ClockLimits(inference_s=600, window_s=60, load_s=60), used_ms=0, clock=clock)
    rules = StopRules(lambda: Directive.GO_ON, clocks, is_stopping=threading.Event())
    recorder = FakeRecorder()
    tools = put_tools_together(host, FakeMedia(), Path("uploads"))
    Transcription(CLAIM, tools, cast(JobRecorder, recorder), rules).run()
    assert recorder.endings == ["crashed"]
    assert host.is_given_up


class Clock:
    """A clock that is a tenth of a second later each time it is looked at."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        self._now += 0.1
        return self._now


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FileNotFoundError(), FailureCode.UPLOAD_MISSING),
    ],
)
def test_audio_that_cannot_be_opened_fails_the_job(error: Exception, code: FailureCode) -> None:
    assert transcribe(FakeHost(), FakeMedia(error)) == [code]


def test_a_shortage_that_passes_costs_a_wait() -> None:
    media = FakeMedia(MediaServiceDown(), MediaServiceDown())
    assert transcribe(FakeHost(messages.JobDecoded(1)), media) == ["succeeded"]
    assert media.calls == 3


def test_a_shortage_that_lasts_counts_as_a_crash() -> None:
    assert transcribe(FakeHost(), FakeMedia(*[MediaServiceDown()] * 1000)) == ["crashed"]


def test_a_job_that_waits_for_a_decoder_can_be_cancelled() -> None:
    recorder, media = FakeRecorder(), FakeMedia(*[MediaServiceDown()] * 1000)
    tools = put_tools_together(FakeHost(), media, Path("uploads"))
    Transcription(CLAIM, tools, cast(JobRecorder, recorder), rules_that_say(Directive.CANCEL)).run()
    assert recorder.endings == ["cancelled"]
    assert media.calls == 1


def test_a_record_that_is_away_for_too_long_is_no_crash_and_leaves_no_engine_at_work() -> None:
    host, recorder = FakeHost(WINDOWS[0]), RecorderWithoutRedis()
    host.is_idle = False
    tools = put_tools_together(host, FakeMedia(), Path("uploads"))
    work = Transcription(CLAIM, tools, cast(JobRecorder, recorder), rules_that_say(Directive.GO_ON))
    with pytest.raises(QueueUnavailable):
        work.run()
    assert recorder.endings == []
    assert host.is_unloaded


class SlowRecorder(FakeRecorder):
    """Keeps a window after an outage of a minute."""

    def __init__(self, clock: "SetClock") -> None:
        super().__init__()
        self._clock = clock

    def keep_window(self, finished: FinishedWindow) -> Directive:
        self._clock.now += 60
        return super().keep_window(finished)


class SetClock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_outage_of_the_record_is_no_inference() -> None:
    clock = SetClock()
    recorder = SlowRecorder(clock)
    tools = put_tools_together(FakeHost(*WINDOWS, messages.JobDecoded(1)), FakeMedia(), Path("uploads"))
    clocks = JobClocks(ClockLimits(inference_s=50, window_s=50, load_s=50), used_ms=7, clock=clock)
    rules = StopRules(lambda: Directive.GO_ON, clocks, is_stopping=threading.Event())
    Transcription(CLAIM, tools, cast(JobRecorder, recorder), rules).run()
    assert recorder.endings == ["succeeded"]
    assert [finished.inference_ms for finished in recorder.kept] == [7, 7, 7]


WAYS_OUT: dict[str, tuple[messages.Report | Exception, Directive]] = {
    "cancelled": (messages.JobStopped(1), Directive.CANCEL),
    "succeeded": (messages.JobDecoded(1), Directive.GO_ON),
    "failed": (messages.JobFailed(1, FailureCode.AUDIO_UNDECODABLE, "garbage"), Directive.GO_ON),
    "crashed": (ModelProcessDied(), Directive.GO_ON),
    "yielded": (messages.JobStopped(1), Directive.YIELD),
}


@pytest.mark.parametrize("outcome", ["cancelled", "finished", "requeued", "stale"])
@pytest.mark.parametrize(("report", "directive"), WAYS_OUT.values(), ids=WAYS_OUT.keys())
def test_audio_goes_with_a_job_that_the_record_says_is_cancelled_and_with_no_other(
    tmp_path: Path, report: messages.Report | Exception, directive: Directive, outcome: str
) -> None:
    (tmp_path / UPLOAD.name).write_bytes(b"x")
    recorder = FakeRecorder(outcome)
    tools = put_tools_together(FakeHost(report), FakeMedia(), tmp_path)
    Transcription(CLAIM, tools, cast(JobRecorder, recorder), rules_that_say(directive)).run()
    assert len(recorder.endings) == 1
    assert (tmp_path / UPLOAD.name).exists() is (outcome != "cancelled")
