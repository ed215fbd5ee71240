"""The state of a claim, and the reasons for which a running job stops before its audio is done."""

import threading
from enum import StrEnum

from shared.jobs import Claim, Directive
from worker.jobs.clocks import JobClocks

_BY_GRAVITY = (Directive.GO_ON, Directive.YIELD, Directive.CANCEL, Directive.STALE)


class ClaimState:
    """A claim and the gravest directive so far. Thread-safe: the heartbeat and the job both update it."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.directive = Directive.GO_ON
        self._lock = threading.Lock()

    def apply(self, directive: Directive) -> None:
        """Store `directive`, unless a graver one was applied before."""
        with self._lock:
            self.directive = max(self.directive, directive, key=_BY_GRAVITY.index)


class StopReason(StrEnum):
    """The reason to stop a running job."""

    STALE = "stale"  # another worker has the claim: write nothing more about the job
    CANCELLED = "cancelled"  # a client cancelled the job
    TIMED_OUT = "timed_out"  # inference exceeded its deadline
    STALLED = "stalled"  # the engine is silent: its process has to end
    STOPPING = "stopping"  # the worker is about to end: the job goes back to the queue
    YIELDING = "yielding"  # a more urgent job waits: this one goes back to the queue

    @property
    def is_at_boundary(self) -> bool:
        """Return whether the engine finishes its current windows, and stops before the next."""
        return self in (StopReason.STOPPING, StopReason.YIELDING)


class StopRules:
    """The stop conditions of one job: its directive, its clocks, and the stop of the worker."""

    def __init__(self, state: ClaimState, clocks: JobClocks, *, is_stopping: threading.Event) -> None:
        self.state = state
        self.clocks = clocks
        self._is_stopping = is_stopping

    def find_reason(self) -> StopReason | None:
        """Return the gravest reason to stop now; None if there is none."""
        directive = self.state.directive
        reasons = {
            StopReason.STALE: directive is Directive.STALE,
            StopReason.CANCELLED: directive is Directive.CANCEL,
            StopReason.TIMED_OUT: self.clocks.is_inference_over,
            StopReason.STALLED: self.clocks.is_stalled,
            StopReason.STOPPING: self._is_stopping.is_set(),
            StopReason.YIELDING: directive is Directive.YIELD,
        }
        return next((reason for reason, holds in reasons.items() if holds), None)
