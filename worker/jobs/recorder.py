"""What a worker writes into the record of the job it holds, through an outage of Redis if need be."""

import time
from typing import TypeVar

import structlog

from shared.errors import QueueUnavailable
from shared.events import Event, Partial
from shared.jobs import Claim, Directive, Failure
from shared.record import transitions
from shared.record.scripts import ScriptCall, ScriptRunner
from worker.jobs.unpublished_partials import UntoldPartials

RETRY_INTERVAL_S = 0.5
RETRY_LIMIT_S = 600.0
"""How long a transition is tried again while Redis does not answer; then the lease has long decided."""

Answer = TypeVar("Answer")

_logger = structlog.get_logger(__name__)


class JobRecorder:
    """Writes for one claim; every method that changes the job may be repeated without harm.

    What takes the job from its claim answers how that went, as the call of `job_store` says: `cancelled` for
    any of them, where the job was to be cancelled.
    """

    def __init__(self, runner: ScriptRunner, claim: Claim, *, job_ttl_s: float, batch_turn_s: float) -> None:
        self._runner = runner
        self._claim = claim
        self._job_ttl_s = job_ttl_s
        self._batch_turn_s = batch_turn_s
        self._untold = UntoldPartials()

    def tell(self, event: Event) -> Directive:
        """Log an event; while Redis does not answer it is dropped, since the record is what counts.

        Partials are kept for the next one, until their window is: they are read by joining them.
        """
        try:
            if isinstance(event, Partial):
                return self._tell_partial(event)
            return self._runner.run(transitions.emit_event(self._claim, event))
        except QueueUnavailable:
            is_kept = isinstance(event, Partial)
            _logger.warning("event_untold", job_id=self._claim.job_id, event_type=event.type, is_kept=is_kept)
            return Directive.GO_ON

    def keep_window(self, finished: transitions.FinishedWindow) -> Directive:
        """Set the checkpoint behind a finished window."""
        call = transitions.finish_window(self._claim, finished, batch_turn_s=self._batch_turn_s)
        directive = self._insist(call)
        self._untold.forget()
        return directive

    def succeed(self) -> str:
        """End the job as succeeded."""
        call = transitions.finish_succeeded(self._claim, ttl_s=self._job_ttl_s)
        return self._log("succeeded", self._insist(call))

    def fail(self, failure: Failure) -> str:
        """End the job as failed."""
        call = transitions.finish_failed(self._claim, failure, ttl_s=self._job_ttl_s)
        return self._log("failed", self._insist(call), code=failure.code, reason=failure.message)

    def cancel(self) -> str:
        """End the job as cancelled."""
        call = transitions.finish_cancelled(self._claim, ttl_s=self._job_ttl_s)
        return self._log("cancelled", self._insist(call))

    def give_back(self, reason: str, *, inference_ms: int) -> str:
        """Put the job back into the queue, with its checkpoint and what inference has taken."""
        call = transitions.yield_job(self._claim, reason=reason, inference_ms=inference_ms)
        return self._log("yielded", self._insist(call), reason=reason)

    def report_crash(self, *, inference_ms: int) -> str:
        """Count a crash of the model process: the job is queued again, or fails at the limit."""
        ttl_s = self._job_ttl_s
        call = transitions.report_engine_crash(self._claim, ttl_s=ttl_s, inference_ms=inference_ms)
        return self._log("crashed", self._insist(call))

    def _tell_partial(self, partial: Partial) -> Directive:
        self._untold.add(partial)
        directive = Directive.GO_ON
        while (due := self._untold.take_next()) is not None:
            call = transitions.emit_event(self._claim, due, published_partials=self._untold.told)
            directive = self._runner.run(call)
            self._untold.note_told()
        return directive

    def _insist(self, call: ScriptCall[Answer]) -> Answer:
        deadline = time.monotonic() + RETRY_LIMIT_S
        while True:
            try:
                return self._runner.run(call)
            except QueueUnavailable:
                if time.monotonic() > deadline:
                    raise
                _logger.warning("transition_retried", job_id=self._claim.job_id, script=call.script)
                time.sleep(RETRY_INTERVAL_S)

    def _log(self, action: str, outcome: str, **fields: str) -> str:
        _logger.info("job_ended", action=action, outcome=outcome, job_id=self._claim.job_id, **fields)
        return outcome
