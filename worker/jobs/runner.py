"""The thread that does a worker's jobs, one at a time, and gives the model's memory back when idle.

Claiming, running and unloading all happen here and nowhere else, so none of them needs a lock, and the model
process is started by a thread that lives as long as the worker (PR_SET_PDEATHSIG would follow the thread).
"""

import queue
import threading
import time
from collections.abc import Callable

import structlog

from shared.errors import QueueUnavailable
from shared.jobs import Claim
from worker.model.host import ModelHost

BELT_INTERVAL_S = 2.0
"""How often the queue is looked at without a ticket, should tickets be lost or the broker be slow; and an
idle model process, should it have vanished."""

_logger = structlog.get_logger(__name__)


class JobRunner:
    """Runs jobs from `start` until `begin_stop` has let the job at hand go."""

    def __init__(
        self,
        host: ModelHost,
        claim_next: Callable[[], Claim | None],
        transcribe: Callable[[Claim], None],
        *,
        idle_timeout_s: float,
        is_stopping: threading.Event,
    ) -> None:
        self._host = host
        self._claim_next = claim_next
        self._transcribe = transcribe
        self._idle_timeout_s = idle_timeout_s
        self._is_stopping = is_stopping
        self._tickets: queue.SimpleQueue[threading.Event | None] = queue.SimpleQueue()
        self._idle_since = time.monotonic()
        self._thread = threading.Thread(target=self._serve, name="job-runner", daemon=True)

    def start(self) -> None:
        """Begin to look for jobs."""
        self._thread.start()

    def serve_ticket(self) -> None:
        """Look into the queue now; returns when nothing in it is left for this worker."""
        served = threading.Event()
        self._tickets.put(served)
        while not served.wait(timeout=1):
            if not self._thread.is_alive():
                return

    def begin_stop(self) -> None:
        """Take no further job and let the one at hand go back to the queue at its next checkpoint."""
        self._is_stopping.set()
        self._tickets.put(None)

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended, with the model process."""
        self._thread.join(timeout_s)

    def _serve(self) -> None:
        while not self._is_stopping.is_set():
            ticket = self._next_ticket()
            self._look_at_model()
            while not self._is_stopping.is_set() and self._run_next_job():
                self._idle_since = time.monotonic()
            if ticket is not None:
                ticket.set()
            self._unload_when_idle()
        self._host.unload()

    def _look_at_model(self) -> None:
        """Notice a model process that has vanished while idle: nobody shall be told that it is loaded."""
        try:
            self._host.notice_death()
        except Exception:  # border of the thread: the next job must find it alive
            _logger.exception("model_not_looked_at")

    def _unload_when_idle(self) -> None:
        try:
            if self._is_idle_for_too_long():
                self._host.unload()
        except Exception:  # border of the thread: the next job must find it alive
            _logger.exception("not_unloaded")

    def _next_ticket(self) -> threading.Event | None:
        try:
            return self._tickets.get(timeout=self._wait_s())
        except queue.Empty:
            return None

    def _wait_s(self) -> float:
        if not self._host.state.is_loaded or self._idle_timeout_s == 0:
            return BELT_INTERVAL_S
        until_unload_s = self._idle_since + self._idle_timeout_s - time.monotonic()
        return min(BELT_INTERVAL_S, max(0.0, until_unload_s))

    def _is_idle_for_too_long(self) -> bool:
        if not self._host.state.is_loaded or self._idle_timeout_s == 0:
            return False
        return time.monotonic() - self._idle_since >= self._idle_timeout_s

    def _run_next_job(self) -> bool:
        if not self._host.may_start:
            return False
        try:
            claim = self._claim_next()
            if claim is None:
                return False
            _logger.info("job_claimed", job_id=claim.job_id, attempt=claim.attempt)
            self._transcribe(claim)
        except QueueUnavailable:
            _logger.warning("queue_unavailable")
            return False
        except Exception:  # border of the thread: one job's trouble must not end the worker
            _logger.exception("job_abandoned")
            return False
        return True
