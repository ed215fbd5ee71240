"""One job from its claim to its final event, while its rows share batches with other jobs."""

import time
from dataclasses import dataclass

import structlog

from shared.audio_format import SAMPLE_RATE_HZ
from shared.errors import MediaServiceDown
from shared.events import Loading, Progress
from shared.jobs import Claim, Failure, FailureCode, JobState
from shared.transcripts import FinishedWindow
from worker.jobs.job_audio import AudioOpener
from worker.jobs.recorder import JobRecorder
from worker.jobs.stop_rules import StopReason, StopRules
from worker.model import messages
from worker.model.host import ModelHost

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class JobTools:
    """The collaborators of every transcription of a worker, and its times in seconds.

    When the worker stops, an engine has `stop_grace_s` to finish its windows. Else it has `cancel_grace_s`.
    """

    host: ModelHost
    audio: AudioOpener
    cancel_grace_s: float
    stop_grace_s: float


class Transcription:
    """The work on one claim. It is over when the job is final or queued again."""

    def __init__(self, claim: Claim, tools: JobTools, recorder: JobRecorder, rules: StopRules) -> None:
        self.claim = claim
        self.rules = rules
        self.is_over = False
        self.processed_s = claim.checkpoint.resume_sample / SAMPLE_RATE_HZ
        self.run = 0
        """The number of its run in the model process, since `begin`."""
        self._tools = tools
        self._host = tools.host
        self._recorder = recorder
        self._clocks = rules.clocks
        self._stopping_for: StopReason | None = None
        self._stopping_since = 0.0

    @property
    def is_stopping(self) -> bool:
        """Return whether the engine was requested to stop this job."""
        return self._stopping_for is not None

    def begin(self) -> None:
        """Send the job to the model process. A job without audio is over at once.

        Raises:
            ModelProcessDied: the process ended before it received the job.
        """
        try:
            with self._tools.audio.open(self.claim, self.rules) as audio:
                self.run = self._host.begin_job(
                    self.claim, audio.descriptor, has_stored_samples=audio.has_stored_samples
                )
        except FileNotFoundError:
            self.fail(FailureCode.UPLOAD_MISSING, "The uploaded file is no longer stored. Send it again.")
        except MediaServiceDown:
            self._end_without_decoder()
        else:
            if self._host.state.is_loaded:
                self._clocks.begin_inference()

    def _end_without_decoder(self) -> None:
        reason = self.rules.find_reason()
        if reason is None:
            self.note_crash(self._recorder.report_crash(inference_ms=self._clocks.inference_ms))
        else:
            self._conclude(reason)

    def on_load_report(self, report: messages.LoadPhaseBegun | messages.Loaded) -> None:
        """Record progress of a load."""
        match report:
            case messages.LoadPhaseBegun(phase=phase, elapsed_s=elapsed_s):
                self._clocks.begin_loading()
                self._recorder.emit(Loading(phase=phase, elapsed_s=elapsed_s))
            case messages.Loaded(elapsed_s=elapsed_s):
                self._clocks.begin_inference()
                self._recorder.emit(Loading(phase="loaded", elapsed_s=elapsed_s))

    def on_report(self, report: messages.RunReport, *, cost_ms: int = 0) -> None:
        """Record a report on this run. `cost_ms` is the share of the engine's time that a window took."""
        match report:
            case messages.PartialDecoded(partial=partial):
                self._recorder.emit(partial)
            case messages.WindowDecoded(finished=finished, is_last_row=is_last_row):
                self.processed_s = finished.resume_sample / SAMPLE_RATE_HZ
                if is_last_row:
                    self._clocks.rest()  # before the call, which may last as long as an outage of Redis
                self._recorder.store_window(finished, inference_ms=self._clocks.inference_ms, cost_ms=cost_ms)
            case messages.JobDecoded(last=last):
                self._succeed(last, cost_ms=cost_ms)
            case messages.JobFailed(code=code, message=message):
                self.fail(code, message)
            case messages.JobStopped():
                self._end(self.rules.find_reason() or StopReason.STALE)
            case messages.AudioRead():
                pass

    def stop_at_boundary(self) -> None:
        """Between two batches, stop without loss if there is a reason: all decoded windows are stored."""
        if (reason := self.rules.find_reason()) is not None:
            self._note_stop(reason)
            self._host.stop_job(self.run)

    def apply_stop_rules(self) -> None:
        """Stop the engine's work on this job if there is a reason, and drop the job if it does not stop."""
        reason = self.rules.find_reason()
        if reason is None or reason is StopReason.STALLED:
            return
        if self._note_stop(reason):
            self._host.stop_job(self.run, finishes_windows=reason.is_at_boundary)
        if self._is_grace_over(reason):
            self._conclude(reason)

    def _is_grace_over(self, reason: StopReason) -> bool:
        if reason is StopReason.YIELDING:  # its windows may take as long as the deadline allows
            return False
        if reason is StopReason.STOPPING and not self._clocks.is_inferring:
            return True  # waiting for an engine that loads would gain nothing
        grace_s = self._tools.stop_grace_s if reason is StopReason.STOPPING else self._tools.cancel_grace_s
        return time.monotonic() - self._stopping_since >= grace_s

    def fail(self, code: FailureCode, message: str) -> None:
        """End the job as failed."""
        self.is_over = True
        self._record_end(JobState.FAILED, Failure(code, message))
        self._tools.audio.delete_samples(self.claim)

    def note_crash(self, outcome: str) -> None:
        """End this claim after the model process died; the record has it already."""
        self.is_over = True
        self._recorder.log_crash(outcome, inference_ms=self._clocks.inference_ms)
        if outcome == "failed":
            self._tools.audio.delete_samples(self.claim)

    def _note_stop(self, reason: StopReason) -> bool:
        """Return whether `reason` is new."""
        if reason is self._stopping_for:
            return False
        self._stopping_for, self._stopping_since = reason, time.monotonic()
        return True

    def _conclude(self, reason: StopReason) -> None:
        """End a job on which the engine may still be at work."""
        if self.run:
            waited_ms = round((time.monotonic() - self._stopping_since) * 1000)
            self._host.drop_job(self.run, job_id=self.claim.job_id, reason=reason, waited_ms=waited_ms)
        self._end(reason)

    def _end(self, reason: StopReason) -> None:
        """Record the end of a stopped job."""
        self.is_over = True
        match reason:
            case StopReason.STALE:
                _logger.warning("claim_lost")
            case StopReason.CANCELLED:
                self._record_end(JobState.CANCELLED)
            case StopReason.TIMED_OUT:
                limit_s, setting = self._clocks.limit_s, self._clocks.limit_setting
                message = (
                    f"Inference took longer than {limit_s:g} s, the limit by {setting}. Send shorter audio."
                )
                self.fail(FailureCode.TIMEOUT, message)
            case StopReason.STALLED:
                self._recorder.report_crash(inference_ms=self._clocks.inference_ms)
            case StopReason.STOPPING:
                self._requeue("worker_stopping")
            case StopReason.YIELDING:
                self._requeue("yielded")

    def _succeed(self, last: FinishedWindow | None, *, cost_ms: int) -> None:
        self.is_over = True
        if last is not None:
            self._recorder.succeed_after(last, inference_ms=self._clocks.inference_ms, cost_ms=cost_ms)
        else:
            duration_s = self.claim.upload.duration_s
            if self.processed_s < duration_s:  # silence follows the last window
                self._recorder.emit(Progress(processed_s=duration_s, duration_s=duration_s))
            self._record_end(JobState.SUCCEEDED)
        self._tools.audio.delete_samples(self.claim)

    def _record_end(self, state: JobState, failure: Failure | None = None) -> None:
        self._recorder.end(state, failure, inference_ms=self._clocks.inference_ms)

    def _requeue(self, reason: str) -> None:
        self._recorder.requeue(reason, inference_ms=self._clocks.inference_ms)
