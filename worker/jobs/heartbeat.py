"""The worker's heartbeat: announces the worker, and renews the leases of its claims."""

import threading
import time
from collections.abc import Callable

import structlog

from shared.capabilities import WorkerPresence
from shared.errors import QueueUnavailable
from shared.record.claims import beat_claims
from shared.record.scripts import ScriptRunner
from shared.record.workers import announce_worker, retire_worker
from worker.jobs.stop_rules import ClaimState

BEAT_INTERVAL_S = 0.25
"""Seconds between two renewals. Each returns a directive, so a cancel stops any engine within a second."""

PRESENCE_INTERVAL_S = 3.0
"""Seconds between two announcements of the worker. A change, such as a loaded model, is announced at once."""

_logger = structlog.get_logger(__name__)


class Heartbeat:
    """A thread that writes to the record from `start` to `stop`."""

    def __init__(
        self, runner: ScriptRunner, describe_worker: Callable[[], WorkerPresence], *, lease_s: float
    ) -> None:
        self._runner = runner
        self._describe_worker = describe_worker
        self._lease_s = lease_s
        self._watched: tuple[ClaimState, ...] = ()
        self._stopped = threading.Event()
        self._announced: WorkerPresence | None = None
        self._announced_at = 0.0
        self._announcing = threading.Lock()
        self._thread = threading.Thread(target=self._beat_until_stopped, name="heartbeat", daemon=True)

    @property
    def job_ids(self) -> tuple[str, ...]:
        """The jobs whose leases are renewed."""
        return tuple(state.claim.job_id for state in self._watched)

    def watch(self, state: ClaimState) -> None:
        """Renew the lease of a claim, which gets the directives of the record."""
        self._watched = (*self._watched, state)

    def forget(self, state: ClaimState) -> None:
        """Renew this lease no more."""
        self._watched = tuple(watched for watched in self._watched if watched is not state)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and remove the worker from the live workers."""
        self._stopped.set()
        self._thread.join(timeout=1)
        try:
            self._runner.run(retire_worker(self._describe_worker().worker_id))
        except QueueUnavailable:
            _logger.info("worker_not_retired", reason="Redis does not answer; the presence will expire")

    def announce(self) -> None:
        """Announce the worker if its state has changed, or was announced long ago. Thread-safe.

        Raises:
            QueueUnavailable: Redis does not answer. The next beat announces the worker.
        """
        with self._announcing:  # or an older state could overwrite a newer one
            presence, now = self._describe_worker(), time.monotonic()
            if presence == self._announced and now - self._announced_at < PRESENCE_INTERVAL_S:
                return
            self._runner.run(announce_worker(presence))
            self._announced, self._announced_at = presence, now

    def _beat_until_stopped(self) -> None:
        while not self._stopped.is_set():
            try:
                self.announce()
                self._renew_leases()
            except QueueUnavailable:
                _logger.warning("beat_missed", reason="Redis does not answer")
            except Exception:  # border of the thread: without it the worker would count as dead
                _logger.exception("beat_failed")
            self._stopped.wait(BEAT_INTERVAL_S)

    def _renew_leases(self) -> None:
        watched = self._watched  # jobs may end meanwhile
        if watched:
            claims = [state.claim for state in watched]
            directives = self._runner.run(beat_claims(claims, lease_s=self._lease_s))
            for state, directive in zip(watched, directives, strict=True):
                state.apply(directive)
