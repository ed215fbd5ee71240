"""A job ends in the record if its transcription fails, and no model process is left at work on it."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
import pytest

from shared.audio_format import AudioStart
from shared.capabilities import ModelState
from shared.errors import MediaServiceDown, QueueUnavailable
from shared.jobs import (
    Checkpoint,
    Claim,
    Directive,
    Endpoint,
    Failure,
    FailureCode,
    JobState,
    Priority,
    TranscriptionRequest,
    Upload,
)
from shared.media.client import MediaService
from shared.transcripts import FinishedWindow, Segment, TokenCounts, TranscriptWarning, WarningCode
from shared.upload_store import UploadStore
from worker.jobs.clocks import JobClocks
from worker.jobs.job_audio import AudioOpener
from worker.jobs.recorder import JobRecorder
from worker.jobs.stop_rules import ClaimState, StopRules
from worker.jobs.transcription import JobTools, Transcription
from worker.model import messages
from worker.model.host import ModelHost, ModelProcessDied
from worker.settings import WorkerSettings

UPLOAD = Upload("a", "a.wav", size_bytes=1, sha256="", duration_s=9.0)
CLAIM = Claim(
    "a",
    Endpoint.SYNC,
    Priority.BATCH,
    UPLOAD,
    TranscriptionRequest(),
    claim_no=1,
    attempt=1,
    checkpoint=Checkpoint(),
)


class FakeRecorder:
    """A record that collects windows and endings. It answers a boundary with `directive`."""

    def __init__(self, directive: Directive = Directive.GO_ON) -> None:
        self.state = ClaimState(CLAIM)
        self.endings: list[object] = []
        self.stored: list[FinishedWindow] = []
        self.inference_ms: list[int] = []
        self._directive = directive

    def store_window(self, finished: FinishedWindow, *, inference_ms: int) -> None:
        self.stored.append(finished)
        self.inference_ms.append(inference_ms)

    def check_yield(self) -> None:
        self.state.apply(self._directive)

    def emit(self, event: object) -> None:
        pass

    def end(self, state: JobState, failure: Failure | None = None) -> None:
        self.endings.append(failure.code if failure else state)

    def succeed_after(self, last: FinishedWindow, *, inference_ms: int) -> None:
        self.store_window(last, inference_ms=inference_ms)
        self.endings.append("succeeded after its last window")

    def report_crash(self, *, inference_ms: int) -> bool:
        self.endings.append("crashed")
        return False

    def requeue(self, reason: str, *, inference_ms: int) -> None:
        self.endings.append((reason, inference_ms))


class RecorderWithoutRedis(FakeRecorder):
    """A record that an outage outlasts."""

    def store_window(self, finished: FinishedWindow, *, inference_ms: int) -> None:
        raise QueueUnavailable


class FakeHost:
    """A model process that reports or raises what a test chose."""

    def __init__(self, *reports: messages.Report | Exception | None) -> None:
        self.state = ModelState.READY
        self.is_idle = True
        self.is_unloaded = False
        self.is_given_up = False
        self.orders: list[str] = []
        self._reports = list(reports)

    def begin_job(self, claim: Claim, audio_fd: int, *, has_stored_samples: bool = False) -> None:
        pass

    def receive(self, timeout_s: float) -> messages.Report | None:
        report = self._reports.pop(0)
        if isinstance(report, Exception):
            raise report
        return report

    def unload(self, reason: str = "idle", **_facts: object) -> None:
        self.is_unloaded = True

    def give_up(self) -> None:
        self.is_given_up = True

    def continue_job(self) -> None:
        self.orders.append("continue")

    def stop_job(self) -> None:
        self.orders.append("stop")


class FakeMedia:
    """A decoder that starts after these errors."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.calls = 0

    def decode_into(self, path: Path, pipe_fd: int, *, declared_duration_s: float, start: AudioStart) -> None:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)


class Clock:
    """A clock that is a tenth of a second later each time it is read."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        self._now += 0.1
        return self._now


class SetClock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def transcribe(host: FakeHost, media: FakeMedia | None = None) -> list[object]:
    """Return how the job ended in the record."""
    return record(host, media).endings


def record(
    host: FakeHost,
    media: FakeMedia | None = None,
    recorder: FakeRecorder | None = None,
    clocks: JobClocks | None = None,
) -> FakeRecorder:
    """Run a transcription, and return the record of the job."""
    recorder = recorder or FakeRecorder()
    tools = JobTools(
        cast(ModelHost, host),
        AudioOpener(
            cast(MediaService, media or FakeMedia()),
            UploadStore(Path("uploads")),
            patience_s=0.5,
            retry_s=0.001,
        ),
        cancel_grace_s=1,
        stop_grace_s=1,
        announce_worker=lambda: recorder.endings.append("announced"),
    )
    clocks = clocks or make_clocks(lambda: 0.0)
    rules = StopRules(recorder.state, clocks, is_stopping=threading.Event())
    Transcription(CLAIM, tools, cast(JobRecorder, recorder), rules).run()
    return recorder


def make_clocks(
    clock: Callable[[], float], *, inference_s: float = 60, stall_s: float = 60, used_ms: int = 0
) -> JobClocks:
    settings = WorkerSettings(request_timeout=inference_s, stall_timeout_s=stall_s, load_timeout_s=stall_s)
    return JobClocks(msgspec.structs.replace(CLAIM, inference_ms=used_ms), settings, clock=clock)


def test_a_job_succeeds_when_all_audio_is_decoded() -> None:
    assert transcribe(FakeHost(messages.JobDecoded(1))) == ["succeeded"]


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_window_is_stored_with_its_completeness_warnings_and_counts(*, is_complete: bool) -> None:
    segments = (Segment(0.0, 1.0, "The tide", "en"),)
    warnings = (TranscriptWarning(WarningCode.TRUNCATED, "cut", 0.0, 1.0),)
    counts = TokenCounts(text_input=9, audio_input=13, output=5)
    finished = FinishedWindow(segments, warnings, is_complete, counts, window=0, resume_sample=16_000)
    recorder = record(FakeHost(messages.WindowDecoded(1, finished), messages.JobDecoded(1)))
    assert recorder.stored == [finished]
    assert recorder.endings == ["succeeded"]


def test_the_last_window_is_stored_in_the_step_that_ends_the_job() -> None:
    first, last = (WINDOWS[index].finished for index in (0, 1))
    recorder = record(FakeHost(messages.WindowDecoded(1, first), messages.JobDecoded(1, last)))
    assert recorder.stored == [first, last]
    assert recorder.endings == ["succeeded after its last window"]


def test_the_failure_code_of_the_engine_is_recorded() -> None:
    report = messages.JobFailed(1, FailureCode.AUDIO_UNDECODABLE, "garbage")
    assert transcribe(FakeHost(report)) == [FailureCode.AUDIO_UNDECODABLE]


def test_a_failed_load_is_announced_then_fails_the_job_and_leaves_no_process() -> None:
    host = FakeHost(messages.LoadFailed("no weights"))
    assert transcribe(host) == ["announced", FailureCode.MODEL_UNAVAILABLE]
    assert host.is_unloaded


def test_a_model_process_that_dies_counts_as_a_crash() -> None:
    assert transcribe(FakeHost(ModelProcessDied())) == ["crashed"]


def test_an_unexpected_error_counts_as_a_crash_and_leaves_no_process_at_work() -> None:
    host = FakeHost(RuntimeError("a bug"))
    assert transcribe(host) == ["crashed"]
    assert host.is_given_up


WINDOWS = [
    messages.WindowDecoded(1, FinishedWindow((), window=index, resume_sample=(index + 1) * 16_000))
    for index in range(3)
]


def test_an_engine_continues_when_all_its_windows_are_stored() -> None:
    host = FakeHost(*WINDOWS[:2], messages.BatchDecoded(1), WINDOWS[2], messages.JobDecoded(1))
    recorder = record(host)
    assert host.orders == ["continue"]
    assert [finished.window for finished in recorder.stored] == [0, 1, 2]


def test_a_job_that_yields_keeps_every_decoded_window_and_the_process() -> None:
    host = FakeHost(*WINDOWS, messages.BatchDecoded(1), messages.JobStopped(1))
    recorder = record(host, recorder=FakeRecorder(Directive.YIELD), clocks=make_clocks(Clock(), used_ms=500))
    assert set(host.orders) == {"stop"}
    assert [finished.window for finished in recorder.stored] == [0, 1, 2]
    first_ms, *_, last_ms = recorder.inference_ms
    ((reason, inference_ms),) = cast(list[tuple[str, int]], recorder.endings)
    assert reason == "yielded"
    assert 500 < first_ms < last_ms < inference_ms
    assert not host.is_unloaded


def test_a_stalled_engine_loses_its_process_and_counts_as_crashed() -> None:
    host = FakeHost(*[None] * 1000)
    assert record(host, clocks=make_clocks(Clock(), inference_s=600)).endings == ["crashed"]
    assert host.is_given_up


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FileNotFoundError(), FailureCode.UPLOAD_MISSING),
    ],
)
def test_audio_that_cannot_be_opened_fails_the_job(error: Exception, code: FailureCode) -> None:
    assert transcribe(FakeHost(), FakeMedia(error)) == [code]


def test_a_short_shortage_of_processes_costs_a_wait() -> None:
    media = FakeMedia(MediaServiceDown(), MediaServiceDown())
    assert transcribe(FakeHost(messages.JobDecoded(1)), media) == ["succeeded"]
    assert media.calls == 3


def test_a_long_shortage_of_processes_counts_as_a_crash() -> None:
    assert transcribe(FakeHost(), FakeMedia(*[MediaServiceDown()] * 1000)) == ["crashed"]


def test_a_job_that_waits_for_a_decoder_can_be_cancelled() -> None:
    recorder, media = FakeRecorder(), FakeMedia(*[MediaServiceDown()] * 1000)
    recorder.state.apply(Directive.CANCEL)
    assert record(FakeHost(), media, recorder).endings == ["cancelled"]
    assert media.calls == 1


def test_a_long_outage_is_not_a_crash_and_leaves_no_engine_at_work() -> None:
    host, recorder = FakeHost(WINDOWS[0]), RecorderWithoutRedis()
    host.is_idle = False
    with pytest.raises(QueueUnavailable):
        record(host, recorder=recorder)
    assert recorder.endings == []
    assert host.is_unloaded


class SlowRecorder(FakeRecorder):
    """A record that stores a window after an outage of a minute."""

    def __init__(self, clock: SetClock) -> None:
        super().__init__()
        self._clock = clock

    def store_window(self, finished: FinishedWindow, *, inference_ms: int) -> None:
        self._clock.now += 60
        super().store_window(finished, inference_ms=inference_ms)


def test_an_outage_of_the_record_does_not_count_as_inference() -> None:
    clock = SetClock()
    host = FakeHost(*WINDOWS, messages.JobDecoded(1))
    clocks = make_clocks(clock, inference_s=50, stall_s=50, used_ms=7)
    recorder = record(host, recorder=SlowRecorder(clock), clocks=clocks)
    assert recorder.endings == ["succeeded"]
    assert recorder.inference_ms == [7, 7, 7]
