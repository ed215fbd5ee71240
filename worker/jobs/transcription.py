"""One job from its claim to its final event."""

import contextlib
import os
import time
from dataclasses import dataclass

import structlog

from shared.audio_format import SAMPLE_RATE_HZ
from shared.errors import MediaServiceDown, QueueUnavailable
from shared.events import Loading, Partial, Progress
from shared.jobs import Claim, Directive, Failure, FailureCode
from shared.record.transitions import FinishedWindow
from shared.upload_store import UploadStore
from worker.audio.decoder_start import DecoderStarter
from worker.jobs.heartbeat import Heartbeat
from worker.jobs.recorder import JobRecorder
from worker.jobs.stop_rules import StopReason, StopRules
from worker.model import messages
from worker.model.host import ModelHost, ModelProcessDied

POLL_S = 0.05
"""How often stop rules are looked at while the model process says nothing."""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class JobTools:
    """What every transcription of a worker needs, put together once. The graces are in seconds."""

    host: ModelHost
    decoders: DecoderStarter
    uploads: UploadStore
    heartbeat: Heartbeat
    cancel_grace_s: float
    stop_grace_s: float

    def grace_s(self, reason: StopReason) -> float:
        """How long an engine may take to stop by itself."""
        return self.stop_grace_s if reason.is_at_boundary else self.cancel_grace_s


class Transcription:
    """The work on one claim; `run` returns when the job is final or given back."""

    def __init__(self, claim: Claim, tools: JobTools, recorder: JobRecorder, rules: StopRules) -> None:
        self._claim = claim
        self._tools = tools
        self._host = tools.host
        self._recorder = recorder
        self._rules = rules
        self._clocks = rules.clocks
        self._obeyed: StopReason | None = None
        self._obeyed_since = 0.0
        self._processed_s = claim.checkpoint.resume_sample / SAMPLE_RATE_HZ
        self._is_over = False

    def run(self) -> None:
        """Transcribe the upload and write into the record how it ended."""
        try:
            self._begin()
            while not self._is_over:
                report = self._host.receive(POLL_S)
                with self._clocks.excuse_outage():
                    self._on_report(report)
                self._obey_rules()
        except ModelProcessDied:
            self._report_crash()
        except FileNotFoundError:
            self._fail(FailureCode.UPLOAD_MISSING, "The uploaded file is no longer stored. Send it again.")
        except MediaServiceDown:
            self._give_up_without_decoder()
        except QueueUnavailable:  # for longer than anybody waits: others decide what becomes of the job
            if not self._host.is_idle:
                self._host.unload()
            raise
        except Exception:  # border of the job: an error of ours must count, or it would be tried for ever
            _logger.exception("transcription_broke", job_id=self._claim.job_id)
            self._host.give_up()
            self._report_crash()

    def _begin(self) -> None:
        """Connect a decoder to the model process by a pipe that this process never reads."""
        reading, writing = os.pipe()
        try:
            self._tools.decoders.start(
                self._claim, writing, may_wait=lambda: self._rules.find_reason() is None
            )
            self._host.begin_job(self._claim, reading)
        finally:
            os.close(reading)
            os.close(writing)
        if self._host.state.is_loaded:
            self._clocks.begin_inference()

    def _give_up_without_decoder(self) -> None:
        reason = self._rules.find_reason()
        if reason is None:
            self._report_crash()
        else:
            self._conclude(reason)

    def _on_report(self, report: messages.Report | None) -> None:
        match report:
            case None:
                return
            case messages.Loading(phase=phase, elapsed_s=elapsed_s):
                self._clocks.begin_loading()
                self._note(self._recorder.tell(Loading(phase=phase, elapsed_s=elapsed_s)))
            case messages.Loaded(elapsed_s=elapsed_s):
                self._clocks.begin_inference()
                self._note(self._recorder.tell(Loading(phase="loaded", elapsed_s=elapsed_s)))
            case messages.LoadFailed(message=message):
                self._host.unload()
                self._fail(FailureCode.MODEL_UNAVAILABLE, message)
            case _:
                self._clocks.begin_inference()
                self._on_run_report(report)

    def _on_run_report(self, report: messages.RunReport) -> None:
        match report:
            case messages.PartialDecoded(window=window, delta=delta, tail=tail, language=language):
                self._note(self._recorder.tell(Partial(window, delta, tail, language)))
            case messages.WindowDecoded():
                self._keep_window(report)
            case messages.JobDecoded():
                self._succeed()
            case messages.JobFailed(code=code, message=message):
                self._fail(code, message)
            case messages.JobStopped():
                self._conclude(self._rules.find_reason() or StopReason.STALE)
            case messages.BatchDecoded():
                self._answer_boundary()
            case messages.AudioRead():
                pass

    def _keep_window(self, decoded: messages.WindowDecoded) -> None:
        processed_s = decoded.end_sample / SAMPLE_RATE_HZ
        self._processed_s = processed_s
        progress = Progress(processed_s=processed_s, duration_s=self._claim.upload.duration_s)
        finished = FinishedWindow(
            decoded.window,
            decoded.end_sample,
            progress,
            decoded.segments,
            decoded.warnings,
            decoded.is_complete,
            self._clocks.inference_ms,
            decoded.token_counts,
        )
        self._note(self._recorder.keep_window(finished))

    def _answer_boundary(self) -> None:
        """All windows that were decoded are kept now: let the engine go on, or stop it without loss."""
        if self._rules.find_reason() is None:
            self._host.go_on()
        else:
            self._host.stop_job()

    def _note(self, directive: Directive) -> None:
        self._tools.heartbeat.note_directive(directive)

    def _obey_rules(self) -> None:
        reason = None if self._is_over else self._rules.find_reason()
        if reason is None:
            return
        if reason is not self._obeyed:
            self._obeyed, self._obeyed_since = reason, time.monotonic()
            if reason is not StopReason.STOPPING:  # which lets the windows at hand be finished
                self._host.stop_job()
        # An engine that loads, or gives no sign of life, is not worth a grace.
        is_hopeless = reason is StopReason.STALLED or (
            reason is StopReason.STOPPING and not self._clocks.is_inferring
        )
        if is_hopeless or time.monotonic() - self._obeyed_since >= self._tools.grace_s(reason):
            self._conclude(reason)

    def _conclude(self, reason: StopReason) -> None:
        """End a job that was stopped; an engine still at work on it is ended with its process."""
        if reason is StopReason.STALLED:
            self._host.give_up()
        elif not self._host.is_idle:
            self._end_engine(reason)
        self._end()
        match reason:
            case StopReason.STALE:
                _logger.warning("claim_lost", job_id=self._claim.job_id)
            case StopReason.CANCELLED:
                self._note_outcome(self._recorder.cancel())
            case StopReason.TIMED_OUT:
                self._fail(FailureCode.TIMEOUT, _TIMEOUT_MESSAGE)
            case StopReason.STALLED:
                _logger.error("engine_stalled", job_id=self._claim.job_id)
                self._report_crash()
            case StopReason.STOPPING:
                self._give_back("worker_stopping")
            case StopReason.YIELDING:
                self._give_back("yielded")

    def _end_engine(self, reason: StopReason) -> None:
        """End an engine that did not stop by itself; the next job pays for it with a reload."""
        waited_ms = round((time.monotonic() - self._obeyed_since) * 1000)
        self._host.unload()
        _logger.warning(
            "engine_ended",
            job_id=self._claim.job_id,
            reason=reason,
            waited_ms=waited_ms,
            ended_ms=round((time.monotonic() - self._obeyed_since) * 1000),
        )

    def _succeed(self) -> None:
        self._end()
        duration_s = self._claim.upload.duration_s
        if self._processed_s < duration_s:  # what follows the last window is silence
            self._recorder.tell(Progress(processed_s=duration_s, duration_s=duration_s))
        self._note_outcome(self._recorder.succeed())

    def _fail(self, code: FailureCode, message: str) -> None:
        self._end()
        self._note_outcome(self._recorder.fail(Failure(code, message)))

    def _give_back(self, reason: str) -> None:
        self._note_outcome(self._recorder.give_back(reason, inference_ms=self._clocks.inference_ms))

    def _report_crash(self) -> None:
        self._note_outcome(self._recorder.report_crash(inference_ms=self._clocks.inference_ms))

    def _note_outcome(self, outcome: str) -> None:
        """Delete the audio of a job that is cancelled now: who cancels wants nothing of it to be left."""
        if outcome == "cancelled":
            with contextlib.suppress(OSError):  # then a sweeper does it
                self._tools.uploads.delete(self._claim.upload.name)

    def _end(self) -> None:
        self._is_over = True


_TIMEOUT_MESSAGE = (
    "Inference took longer than allowed. Send shorter audio, use POST /v1/jobs, "
    "or raise REQUEST_TIMEOUT or JOB_TIMEOUT_FACTOR."
)
