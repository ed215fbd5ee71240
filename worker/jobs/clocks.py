"""The clocks of one job: the time that inference took, and the time since the engine's last sign of life."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.jobs import Claim, Endpoint
from worker.settings import WorkerSettings

OUTAGE_FROM_S = 0.25
"""Seconds from which a slow write counts as an outage of Redis. The engine works on during shorter ones."""


class JobClocks:
    """The clocks of one claim. Inference, without loading, counts on from earlier claims."""

    def __init__(
        self, claim: Claim, settings: WorkerSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit_s, self.limit_setting = settings.request_timeout, "REQUEST_TIMEOUT"
        by_length_s = settings.job_timeout_factor * claim.upload.duration_s
        if claim.endpoint is Endpoint.JOBS and by_length_s > self.limit_s:
            self.limit_s, self.limit_setting = by_length_s, "JOB_TIMEOUT_FACTOR"
        self._stall_s, self._load_s = settings.stall_timeout_s, settings.load_timeout_s
        self._used_s = claim.inference_ms / 1000
        self._clock = clock
        self._inferring_since: float | None = None
        self._is_resting = False
        self._alive_at = clock()
        self.is_alone = True
        """Whether the engine is at work on this job only.

        If not, inference counts up to the last sign of life: another job may be the cause of a silence.
        """

    def begin_inference(self) -> None:
        """Register a sign of life of the engine, which decodes from now on if it did not before."""
        self._alive_at = self._clock()
        if self._inferring_since is None and not self._is_resting:
            self._inferring_since = self._alive_at

    def begin_loading(self) -> None:
        """Stop counting inference: the engine loads the first model, or a second one during the job."""
        self._stop_inference()
        self._is_resting = False
        self._alive_at = self._clock()

    def rest(self) -> None:
        """Stop counting inference: the engine decodes only other jobs until the end of the batch."""
        self._stop_inference()
        self._is_resting = True

    def end_rest(self) -> None:
        """Count inference again if the job was resting: the next batch begins."""
        if self._is_resting:
            self._is_resting = False
            self.begin_inference()

    def _stop_inference(self) -> None:
        self._used_s = self._inference_s
        self._inferring_since = None

    @contextmanager
    def excuse_outage(self) -> Iterator[None]:
        """Stop both clocks within the block if it takes so long that Redis must be down."""
        began_at = self._clock()
        try:
            yield
        finally:
            now = self._clock()
            if now - began_at > OUTAGE_FROM_S:
                self._alive_at = now
                if self._inferring_since is not None:
                    self._inferring_since += now - max(began_at, self._inferring_since)

    @property
    def is_inferring(self) -> bool:
        """Return whether the model is in memory and at work, for this job or its companions."""
        return self._inferring_since is not None or self._is_resting

    @property
    def inference_ms(self) -> int:
        """Return the time of inference for the job so far, under all claims."""
        return round(self._inference_s * 1000)

    @property
    def is_inference_over(self) -> bool:
        """Return whether inference has exceeded its limit."""
        return self._inference_s > self.limit_s

    @property
    def is_stalled(self) -> bool:
        """Return whether the engine has been silent for longer than its limit."""
        limit_s = self._stall_s if self.is_inferring else self._load_s
        return self._clock() - self._alive_at > limit_s

    @property
    def _inference_s(self) -> float:
        if self._inferring_since is None:
            return self._used_s
        until = self._clock() if self.is_alone else self._alive_at
        return self._used_s + until - self._inferring_since
