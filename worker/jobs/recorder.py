"""Writes of one job to the record, repeated through an outage of Redis."""

import time
from typing import TypeVar

import structlog

from shared.errors import QueueUnavailable
from shared.events import Event, Partial
from shared.jobs import Failure, JobState
from shared.logs import log_job_end
from shared.record import transitions
from shared.record.scripts import ScriptCall, ScriptRunner
from shared.transcripts import FinishedWindow
from worker.jobs.stop_rules import ClaimState
from worker.partials import PartialOutbox

RETRY_INTERVAL_S = 0.5
RETRY_LIMIT_S = 600.0
"""Seconds that a transition is repeated while Redis does not answer. By then the lease is long over."""

Answer = TypeVar("Answer")

_logger = structlog.get_logger(__name__)


class JobRecorder:
    """The record of one claimed job. Directives that its answers carry are applied to the claim's state.

    Every transition is safe to repeat. A job that was to be cancelled ends as cancelled by any of them.
    """

    def __init__(self, runner: ScriptRunner, state: ClaimState, *, job_ttl_s: float) -> None:
        self._runner = runner
        self._state = state
        self._claim = state.claim
        self._job_ttl_s = job_ttl_s
        self._outbox = PartialOutbox()
        self._inference_ms = state.claim.inference_ms

    def emit(self, event: Event) -> None:
        """Log an event. While Redis does not answer, the event is dropped: the record holds the truth.

        Partials are kept until the next one or the end of their window, since clients join them.
        """
        try:
            if isinstance(event, Partial):
                self._publish_partial(event)
            else:
                self._state.apply(self._runner.run(transitions.emit_event(self._claim, event)))
        except QueueUnavailable:
            is_kept = isinstance(event, Partial)
            _logger.warning("event_not_logged", event_type=event.type, is_kept=is_kept)

    def store_window(self, finished: FinishedWindow, *, inference_ms: int, cost_ms: int) -> None:
        """Store a finished window, set the checkpoint after it, and record the inference time so far.

        `cost_ms` is the engine's time that this window took, of the time of its batch.
        """
        call = transitions.finish_window(self._claim, finished, inference_ms=inference_ms, cost_ms=cost_ms)
        self._state.apply(self._run_with_retries(call))
        self._inference_ms = inference_ms
        self._outbox.clear()

    def succeed_after(self, last: FinishedWindow, *, inference_ms: int, cost_ms: int) -> None:
        """Store the last window and end the job as succeeded, in one step."""
        self._inference_ms = inference_ms
        call = transitions.succeed_after(
            self._claim, last, inference_ms=inference_ms, cost_ms=cost_ms, ttl_s=self._job_ttl_s
        )
        self._log_outcome(self._run_with_retries(call), state=JobState.SUCCEEDED)

    def end(self, state: JobState, failure: Failure | None = None, *, inference_ms: int) -> None:
        """End the job in a final state, with the inference time so far. A failed job has a failure."""
        self._inference_ms = inference_ms
        call = transitions.finish_job(
            self._claim, state, inference_ms=inference_ms, failure=failure, ttl_s=self._job_ttl_s
        )
        cause = {"code": failure.code, "reason": failure.message} if failure else {}
        self._log_outcome(self._run_with_retries(call), state=state, **cause)

    def requeue(self, reason: str, *, inference_ms: int) -> None:
        """Return the job to the queue, with its checkpoint and the inference time so far."""
        self._inference_ms = inference_ms
        call = transitions.yield_job(self._claim, reason=reason, inference_ms=inference_ms)
        self._log_outcome(self._run_with_retries(call), reason=reason)

    def report_crash(self, *, inference_ms: int) -> str:
        """Count a crash for this job alone, and return `requeued`, `failed`, `cancelled` or `stale`."""
        call = transitions.report_engine_crash([(self._claim, inference_ms)], ttl_s=self._job_ttl_s)
        (outcome,) = self._run_with_retries(call)
        return outcome

    def log_crash(self, outcome: str, *, inference_ms: int) -> None:
        """Log what a crash, reported for all jobs of the model process, meant for this one."""
        self._inference_ms = inference_ms
        self._log_outcome(outcome, state="failed", reason="engine_crash")

    def _publish_partial(self, partial: Partial) -> None:
        self._outbox.add(partial)
        while (due := self._outbox.find_next()) is not None:
            call = transitions.emit_event(self._claim, due, published_partials=self._outbox.published)
            self._state.apply(self._runner.run(call))
            self._outbox.confirm()

    def _run_with_retries(self, call: ScriptCall[Answer]) -> Answer:
        return run_with_retries(self._runner, call)

    def _log_outcome(self, outcome: str, *, state: str = "", **fields: str) -> None:
        amounts = {"duration_s": self._claim.upload.duration_s, "inference_s": self._inference_ms / 1000}
        match outcome:
            case "requeued":
                _logger.info("job_requeued", **fields)
            case "stale":
                _logger.warning("claim_lost")
            case "cancelled":
                log_job_end("cancelled", **amounts)
            case _:
                log_job_end(state, **amounts, **fields)


def run_with_retries(runner: ScriptRunner, call: ScriptCall[Answer]) -> Answer:
    """Return the answer of a transition, which is safe to repeat.

    Raises:
        QueueUnavailable: Redis did not answer for RETRY_LIMIT_S.
    """
    deadline = time.monotonic() + RETRY_LIMIT_S
    while True:
        try:
            return runner.run(call)
        except QueueUnavailable:
            if time.monotonic() > deadline:
                raise
            _logger.warning("transition_retried", call=call.name)
            time.sleep(RETRY_INTERVAL_S)
