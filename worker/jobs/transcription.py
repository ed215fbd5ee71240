"""One job from its claim to its final event."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from shared.audio_format import SAMPLE_RATE_HZ
from shared.errors import MediaServiceDown, QueueUnavailable
from shared.events import Loading, Progress
from shared.jobs import Claim, Failure, FailureCode, JobState
from shared.transcripts import FinishedWindow
from worker.jobs.job_audio import AudioOpener
from worker.jobs.recorder import JobRecorder
from worker.jobs.stop_rules import StopReason, StopRules
from worker.model import messages
from worker.model.host import ModelHost, ModelProcessDied

POLL_S = 0.05
"""Seconds between two checks of the stop rules while the model process is silent."""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class JobTools:
    """The collaborators of every transcription of a worker, and its times in seconds.

    `announce_worker` publishes the state of the worker at once; it may raise QueueUnavailable.
    An engine has `stop_grace_s` to stop at the boundary of a window, and `cancel_grace_s` elsewhere.
    """

    host: ModelHost
    audio: AudioOpener
    cancel_grace_s: float
    stop_grace_s: float
    announce_worker: Callable[[], None]


class Transcription:
    """The work on one claim. `run` returns when the job is final or queued again."""

    def __init__(self, claim: Claim, tools: JobTools, recorder: JobRecorder, rules: StopRules) -> None:
        self._claim = claim
        self._tools = tools
        self._host = tools.host
        self._recorder = recorder
        self._rules = rules
        self._clocks = rules.clocks
        self._stopping_for: StopReason | None = None
        self._stopping_since = 0.0
        self._processed_s = claim.checkpoint.resume_sample / SAMPLE_RATE_HZ
        self._is_over = False

    def run(self) -> None:
        """Transcribe the upload, and record how the job ended."""
        try:
            self._begin()
            while not self._is_over:
                report = self._host.receive(POLL_S)
                with self._clocks.excuse_outage():
                    self._on_report(report)
                self._apply_stop_rules()
        except ModelProcessDied:
            self._report_crash()
        except FileNotFoundError:
            self._fail(FailureCode.UPLOAD_MISSING, "The uploaded file is no longer stored. Send it again.")
        except MediaServiceDown:
            self._end_without_decoder()
        except QueueUnavailable:  # the lease is long over: the sweepers decide about the job
            if not self._host.is_idle:
                self._host.unload("redis_away")
            raise
        except Exception:  # border of the job: an uncounted error would be tried for ever
            _logger.exception("transcription_failed")
            self._host.give_up()
            self._report_crash()

    def _begin(self) -> None:
        with self._tools.audio.open(self._claim, self._rules) as audio:
            self._host.begin_job(self._claim, audio.descriptor, has_stored_samples=audio.has_stored_samples)
        if self._host.state.is_loaded:
            self._clocks.begin_inference()

    def _end_without_decoder(self) -> None:
        reason = self._rules.find_reason()
        if reason is None:
            self._report_crash()
        else:
            self._conclude(reason)

    def _on_report(self, report: messages.Report | None) -> None:
        match report:
            case None:
                return
            case messages.LoadPhaseBegun(phase=phase, elapsed_s=elapsed_s):
                self._clocks.begin_loading()
                self._recorder.emit(Loading(phase=phase, elapsed_s=elapsed_s))
            case messages.Loaded(elapsed_s=elapsed_s):
                self._clocks.begin_inference()
                self._recorder.emit(Loading(phase="loaded", elapsed_s=elapsed_s))
            case messages.LoadFailed(message=message):
                self._host.unload("load_failed")
                with suppress(QueueUnavailable):  # `/ready` reports the failure as soon as a client has it
                    self._tools.announce_worker()
                self._fail(FailureCode.MODEL_UNAVAILABLE, message)
            case _:
                self._clocks.begin_inference()
                self._on_run_report(report)

    def _on_run_report(self, report: messages.RunReport) -> None:
        match report:
            case messages.PartialDecoded(partial=partial):
                self._recorder.emit(partial)
            case messages.WindowDecoded(finished=finished):
                self._processed_s = finished.resume_sample / SAMPLE_RATE_HZ
                self._recorder.store_window(finished, inference_ms=self._clocks.inference_ms)
            case messages.JobDecoded(last=last):
                self._succeed(last)
            case messages.JobFailed(code=code, message=message):
                self._fail(code, message)
            case messages.JobStopped():
                self._conclude(self._rules.find_reason() or StopReason.STALE)
            case messages.BatchDecoded():
                self._on_boundary()
            case messages.AudioRead():
                pass

    def _on_boundary(self) -> None:
        """Let the engine continue, or stop it without loss: all decoded windows are stored now."""
        self._recorder.check_yield()
        if self._rules.find_reason() is None:
            self._host.continue_job()
        else:
            self._host.stop_job()

    def _apply_stop_rules(self) -> None:
        reason = None if self._is_over else self._rules.find_reason()
        if reason is None:
            return
        if reason is not self._stopping_for:
            self._stopping_for, self._stopping_since = reason, time.monotonic()
            if reason is not StopReason.STOPPING:  # then the engine finishes its windows
                self._host.stop_job()
        # Waiting for an engine that loads or is silent would gain nothing.
        is_hopeless = reason is StopReason.STALLED or (
            reason is StopReason.STOPPING and not self._clocks.is_inferring
        )
        grace_s = self._tools.stop_grace_s if reason.is_at_boundary else self._tools.cancel_grace_s
        if is_hopeless or time.monotonic() - self._stopping_since >= grace_s:
            self._conclude(reason)

    def _conclude(self, reason: StopReason) -> None:
        """End a stopped job. If the engine is still at work on it, its process is ended."""
        if reason is StopReason.STALLED:
            self._host.give_up()
        elif not self._host.is_idle:
            self._end_engine(reason)
        self._is_over = True
        match reason:
            case StopReason.STALE:
                _logger.warning("claim_lost")
            case StopReason.CANCELLED:
                self._recorder.end(JobState.CANCELLED)
            case StopReason.TIMED_OUT:
                limit_s, setting = self._clocks.limit_s, self._clocks.limit_setting
                message = (
                    f"Inference took longer than {limit_s:g} s, the limit by {setting}. Send shorter audio."
                )
                self._fail(FailureCode.TIMEOUT, message)
            case StopReason.STALLED:
                _logger.error("engine_stalled")
                self._report_crash()
            case StopReason.STOPPING:
                self._requeue("worker_stopping")
            case StopReason.YIELDING:
                self._requeue("yielded")

    def _end_engine(self, reason: StopReason) -> None:
        """End an engine that did not stop in time. The next job has to load the model again."""
        waited_ms = round((time.monotonic() - self._stopping_since) * 1000)
        self._host.unload(reason, waited_ms=waited_ms)

    def _succeed(self, last: FinishedWindow | None) -> None:
        self._is_over = True
        if last is not None:
            self._recorder.succeed_after(last, inference_ms=self._clocks.inference_ms)
        else:
            duration_s = self._claim.upload.duration_s
            if self._processed_s < duration_s:  # silence follows the last window
                self._recorder.emit(Progress(processed_s=duration_s, duration_s=duration_s))
            self._recorder.end(JobState.SUCCEEDED)
        self._tools.audio.delete_samples(self._claim)

    def _fail(self, code: FailureCode, message: str) -> None:
        self._is_over = True
        self._recorder.end(JobState.FAILED, Failure(code, message))
        self._tools.audio.delete_samples(self._claim)

    def _requeue(self, reason: str) -> None:
        self._recorder.requeue(reason, inference_ms=self._clocks.inference_ms)

    def _report_crash(self) -> None:
        if self._recorder.report_crash(inference_ms=self._clocks.inference_ms):
            self._tools.audio.delete_samples(self._claim)
