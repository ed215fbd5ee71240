"""Why and when a running job has to stop before its audio is done."""

import threading
from collections.abc import Callable
from enum import StrEnum

from shared.jobs import Directive
from worker.jobs.clocks import JobClocks


class StopReason(StrEnum):
    """Why a running job is stopped."""

    STALE = "stale"  # the claim is another's: say nothing more about the job
    CANCELLED = "cancelled"  # somebody asked for it
    TIMED_OUT = "timed_out"  # inference took longer than its deadline
    STALLED = "stalled"  # the engine gives no sign of life: its process has to end
    STOPPING = "stopping"  # the worker is about to end: the job goes back to the queue
    YIELDING = "yielding"  # something more urgent waits: the job goes back, and the worker takes that

    @property
    def is_at_boundary(self) -> bool:
        """Whether the engine finishes the windows it is at, and stops before the next."""
        return self in (StopReason.STOPPING, StopReason.YIELDING)


class StopRules:
    """Watches over one job: its directive, its clocks, and whether the worker is stopping."""

    def __init__(
        self, read_directive: Callable[[], Directive], clocks: JobClocks, *, is_stopping: threading.Event
    ) -> None:
        self._read_directive = read_directive
        self.clocks = clocks
        self._is_stopping = is_stopping

    def find_reason(self) -> StopReason | None:
        """The gravest reason to stop now, if there is one."""
        directive = self._read_directive()
        reasons = {
            StopReason.STALE: directive is Directive.STALE,
            StopReason.CANCELLED: directive is Directive.CANCEL,
            StopReason.TIMED_OUT: self.clocks.is_inference_over,
            StopReason.STALLED: self.clocks.is_stalled,
            StopReason.STOPPING: self._is_stopping.is_set(),
            StopReason.YIELDING: directive is Directive.YIELD,
        }
        return next((reason for reason, holds in reasons.items() if holds), None)
