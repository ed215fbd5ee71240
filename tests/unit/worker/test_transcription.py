"""A job ends in the record however its transcription breaks, and no model process is left at work on it."""

import threading
from pathlib import Path
from typing import cast

import pytest

from shared.capabilities import ModelState
from shared.errors import MediaServiceDown
from shared.events import Progress
from shared.job_store import FinishedWindow
from shared.jobs import (
    Checkpoint,
    Claim,
    Directive,
    Door,
    Failure,
    FailureCode,
    Priority,
    TranscriptionRequest,
    Upload,
)
from shared.media.client import MediaService
from shared.transcripts import Segment, TranscriptWarning, WarningCode
from shared.upload_store import UploadStore
from worker import model_messages as messages
from worker.heartbeat import Heartbeat
from worker.job_recorder import JobRecorder
from worker.model_host import ModelHost, ModelProcessDied
from worker.stop_rules import StopRules
from worker.transcription import JobTools, Transcription

UPLOAD = Upload("a", "a.wav", size_bytes=1, sha256="", duration_s=9.0)
CLAIM = Claim("a", 1, 1, Door.SYNC, Priority.BATCH, UPLOAD, TranscriptionRequest(), Checkpoint())


class FakeRecorder:
    """Notes how a job ended."""

    def __init__(self) -> None:
        self.endings: list[object] = []
        self.kept: list[FinishedWindow] = []

    def keep_window(self, finished: FinishedWindow) -> Directive:
        self.kept.append(finished)
        return Directive.GO_ON

    def tell(self, event: object) -> Directive:
        return Directive.GO_ON

    def succeed(self) -> None:
        self.endings.append("succeeded")

    def fail(self, failure: Failure) -> None:
        self.endings.append(failure.code)

    def report_crash(self) -> None:
        self.endings.append("crashed")


class FakeHost:
    """A model process that reports, or raises, what a test says."""

    def __init__(self, *reports: messages.Report | Exception) -> None:
        self.state = ModelState.READY
        self.is_idle = True
        self.is_unloaded = False
        self._reports = list(reports)

    def begin_job(self, claim: Claim, audio_fd: int) -> None:
        pass

    def receive(self, timeout_s: float) -> messages.Report:
        report = self._reports.pop(0)
        if isinstance(report, Exception):
            raise report
        return report

    def unload(self) -> None:
        self.is_unloaded = True


class FakeHeartbeat:
    """Takes every directive."""

    def note_directive(self, directive: Directive) -> None:
        pass


class FakeMedia:
    """A decoder that starts, or does not."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def decode_into(self, path: Path, pipe_fd: int, *, start_sample: int = 0) -> None:
        if self._error is not None:
            raise self._error


def transcribe(host: FakeHost, media: FakeMedia | None = None) -> list[object]:
    """How the record says that the job ended."""
    return record(host, media).endings


def record(host: FakeHost, media: FakeMedia | None = None) -> FakeRecorder:
    """What was written into the record of the job."""
    recorder = FakeRecorder()
    tools = JobTools(
        host=cast(ModelHost, host),
        media=cast(MediaService, media or FakeMedia()),
        uploads=UploadStore(Path("uploads")),
        heartbeat=cast(Heartbeat, FakeHeartbeat()),
        cancel_grace_s=1,
        stop_grace_s=1,
    )
    rules = StopRules(lambda: Directive.GO_ON, limit_s=60, is_stopping=threading.Event(), clock=lambda: 0.0)
    Transcription(CLAIM, tools, cast(JobRecorder, recorder), rules).run()
    return recorder


def test_audio_that_is_done_makes_the_job_succeed() -> None:
    assert transcribe(FakeHost(messages.JobDecoded(1))) == ["succeeded"]


@pytest.mark.parametrize("is_complete", [True, False])
def test_whether_a_window_is_complete_is_kept_with_its_warnings(*, is_complete: bool) -> None:
    segments = (Segment(0.0, 1.0, "The tide", "en"),)
    warnings = (TranscriptWarning(WarningCode.TRUNCATED, "cut", 0.0, 1.0),)
    decoded = messages.WindowDecoded(1, 0, 16_000, segments, warnings, is_complete)
    recorder = record(FakeHost(decoded, messages.JobDecoded(1)))
    assert recorder.kept == [
        FinishedWindow(0, 16_000, Progress(1.0, 9.0), segments, warnings, is_complete=is_complete)
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
    assert host.is_unloaded


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FileNotFoundError(), FailureCode.UPLOAD_MISSING),
        (MediaServiceDown(), FailureCode.ENGINE_ERROR),
    ],
)
def test_audio_that_cannot_be_opened_fails_the_job(error: Exception, code: FailureCode) -> None:
    assert transcribe(FakeHost(), FakeMedia(error)) == [code]
