"""Why and when a running job has to stop before its audio is done."""

import threading
from collections.abc import Callable
from enum import StrEnum

from shared.jobs import Claim, Directive, Door
from worker.settings import WorkerSettings


class StopReason(StrEnum):
    """Why a running job is stopped."""

    STALE = "stale"  # the claim is another's: say nothing more about the job
    CANCELLED = "cancelled"  # somebody asked for it
    TIMED_OUT = "timed_out"  # inference took longer than its deadline
    STOPPING = "stopping"  # the worker is about to end: the job goes back to the queue


def inference_limit_s(claim: Claim, settings: WorkerSettings) -> float:
    """Seconds that inference for this job may take: see REQUEST_TIMEOUT and JOB_TIMEOUT_FACTOR."""
    if claim.door in (Door.SYNC, Door.STREAM):
        return settings.request_timeout
    return max(settings.request_timeout, settings.job_timeout_factor * claim.upload.duration_s)


class StopRules:
    """Watches over one job: its directive, its inference clock, and whether the worker is stopping."""

    def __init__(
        self,
        read_directive: Callable[[], Directive],
        *,
        limit_s: float,
        is_stopping: threading.Event,
        clock: Callable[[], float],
    ) -> None:
        self._read_directive = read_directive
        self._limit_s = limit_s
        self._is_stopping = is_stopping
        self._clock = clock
        self._inference_began: float | None = None

    def begin_inference(self) -> None:
        """Start the inference clock: the model is in memory now."""
        if self._inference_began is None:
            self._inference_began = self._clock()

    @property
    def has_inference_begun(self) -> bool:
        """Whether the model has been in memory for this job."""
        return self._inference_began is not None

    def find_reason(self) -> StopReason | None:
        """The gravest reason to stop now, if there is one."""
        directive = self._read_directive()
        if directive is Directive.STALE:
            return StopReason.STALE
        if directive is Directive.CANCEL:
            return StopReason.CANCELLED
        if self._inference_began is not None and self._clock() - self._inference_began > self._limit_s:
            return StopReason.TIMED_OUT
        return StopReason.STOPPING if self._is_stopping.is_set() else None
