"""The thread that runs a worker's groups of jobs, one at a time, and unloads the model when idle.

All claims, runs and unloads happen on this thread, so they need no lock. It lives as long as the worker: the
kernel's parent-death signal to the model process follows the thread that started it.
"""

import math
import queue
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from shared.errors import QueueUnavailable
from shared.jobs import Claim
from worker.model.host import ModelHost

POLL_INTERVAL_S = 2.0
"""Seconds between two looks at the queue, in case tickets are lost or slow, and at an idle model process, in
case it has died."""

_logger = structlog.get_logger(__name__)


class JobRunner:
    """Runs groups from `start` until `begin_stop`, after which the current jobs go back to the queue."""

    def __init__(
        self,
        host: ModelHost,
        claim_group: Callable[[], Sequence[Claim]],
        transcribe: Callable[[Sequence[Claim]], None],
        *,
        idle_timeout_s: float,
        is_stopping: threading.Event,
    ) -> None:
        self._host = host
        self._claim_group = claim_group
        self._transcribe = transcribe
        self._idle_timeout_s = idle_timeout_s
        self._is_stopping = is_stopping
        self._tickets: queue.SimpleQueue[threading.Event | None] = queue.SimpleQueue()
        self._is_woken = False
        self._idle_since = time.monotonic()
        self._thread = threading.Thread(target=self._serve, name="job-runner", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def serve_ticket(self) -> None:
        """Check the queue now; return when it has no more jobs for this worker."""
        served = threading.Event()
        self._tickets.put(served)
        while not served.wait(timeout=1):
            if not self._thread.is_alive():
                return

    def wake(self) -> None:
        """Let the thread check the queue once it has no job. One check serves all calls before it."""
        if not self._is_woken:
            self._is_woken = True
            self._tickets.put(None)

    def begin_stop(self) -> None:
        """Claim no more jobs, and return the current ones to the queue at their next checkpoints."""
        self._is_stopping.set()
        self._tickets.put(None)

    def join(self, timeout_s: float) -> None:
        """Wait until the thread and the model process have ended."""
        self._thread.join(timeout_s)

    def _serve(self) -> None:
        while not self._is_stopping.is_set():
            ticket = self._next_ticket()
            self._is_woken = False  # before the check: a later call means a job that it may miss
            while not self._is_stopping.is_set() and self._run_next_group():
                self._idle_since = time.monotonic()
            if ticket is not None:
                ticket.set()
            self._unload_when_idle()
        self._host.unload("worker_stopping")

    def _unload_when_idle(self) -> None:
        try:
            if self._until_unload_s() <= 0:
                self._host.unload()
        except Exception:  # border of the thread: the next job needs it
            _logger.exception("model_unload_failed")

    def _next_ticket(self) -> threading.Event | None:
        try:
            return self._tickets.get(timeout=max(0.0, min(POLL_INTERVAL_S, self._until_unload_s())))
        except queue.Empty:
            return None

    def _until_unload_s(self) -> float:
        if not self._host.state.is_loaded or self._idle_timeout_s == 0:
            return math.inf
        return self._idle_since + self._idle_timeout_s - time.monotonic()

    def _run_next_group(self) -> bool:
        try:
            self._host.detect_death()  # or a process that died while idle would be announced as loaded
            claims = self._claim_group() if self._host.may_start else ()
            if claims:
                self._transcribe(claims)
            return bool(claims)
        except QueueUnavailable:
            _logger.warning("queue_unavailable", reason="Redis does not answer")
            return False
        except Exception:  # border of the thread: an error in one group must not end the worker
            _logger.exception("group_run_failed")
            return False
