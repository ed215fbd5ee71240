"""The clocks of one job: how long inference took, and since when the engine has given no sign of life."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shared.jobs import Claim, Endpoint
from worker.settings import WorkerSettings

OUTAGE_FROM_S = 0.25
"""A report that takes longer, in seconds, to be written down met a Redis that was away. Less is no outage:
the engine is at work meanwhile."""


@dataclass(frozen=True, slots=True)
class ClockLimits:
    """Seconds: of inference in all, and of silence while the engine decodes and while it loads."""

    inference_s: float
    window_s: float
    load_s: float


def choose_limits(claim: Claim, settings: WorkerSettings) -> ClockLimits:
    """The limits for this job: see REQUEST_TIMEOUT, JOB_TIMEOUT_FACTOR, WINDOW_TIMEOUT and LOAD_TIMEOUT."""
    return ClockLimits(inference_limit_s(claim, settings), settings.stall_timeout_s, settings.load_timeout_s)


def inference_limit_s(claim: Claim, settings: WorkerSettings) -> float:
    """Seconds that inference for this job may take: see REQUEST_TIMEOUT and JOB_TIMEOUT_FACTOR."""
    if claim.endpoint in (Endpoint.SYNC, Endpoint.STREAM):
        return settings.request_timeout
    return max(settings.request_timeout, settings.job_timeout_factor * claim.upload.duration_s)


class JobClocks:
    """Counts inference on from `used_ms`, what earlier claims took; loading a model is no inference."""

    def __init__(self, limits: ClockLimits, *, used_ms: int, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._used_s = used_ms / 1000
        self._clock = clock
        self._inferring_since: float | None = None
        self._heard_at = clock()

    def begin_inference(self) -> None:
        """The engine gave a sign of life: it decodes from now on, if it does not already."""
        self._heard_at = self._clock()
        if self._inferring_since is None:
            self._inferring_since = self._heard_at

    def begin_loading(self) -> None:
        """The engine loads from now on: the first model, or another that it needs on the way."""
        self._used_s = self._inference_s
        self._inferring_since = None
        self._heard_at = self._clock()

    @contextmanager
    def excuse_outage(self) -> Iterator[None]:
        """Around writing into the record: where Redis keeps that waiting, both clocks stand still."""
        began_at = self._clock()
        try:
            yield
        finally:
            now = self._clock()
            if now - began_at > OUTAGE_FROM_S:
                self._heard_at = now
                if self._inferring_since is not None:
                    self._inferring_since += now - max(began_at, self._inferring_since)

    @property
    def is_inferring(self) -> bool:
        """Whether the model is in memory and at work."""
        return self._inferring_since is not None

    @property
    def inference_ms(self) -> int:
        """What inference for the job took so far, under all claims."""
        return round(self._inference_s * 1000)

    @property
    def is_inference_over(self) -> bool:
        """Whether inference took longer than it may."""
        return self._inference_s > self._limits.inference_s

    @property
    def is_stalled(self) -> bool:
        """Whether the engine has been silent for longer than one that is at work ever is."""
        limit_s = self._limits.window_s if self.is_inferring else self._limits.load_s
        return self._clock() - self._heard_at > limit_s

    @property
    def _inference_s(self) -> float:
        if self._inferring_since is None:
            return self._used_s
        return self._used_s + self._clock() - self._inferring_since
