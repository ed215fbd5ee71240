"""The worker's pulse: says that it is alive, renews the lease of its claim, and brings back directives."""

import threading
import time
from collections.abc import Callable

import structlog

from shared.capabilities import WorkerPresence
from shared.errors import QueueUnavailable
from shared.jobs import Claim, Directive
from shared.record.scripts import ScriptRunner
from shared.record.transitions import beat_claim
from shared.record.workers import announce_worker, retire_worker

BEAT_INTERVAL_S = 0.25
"""How often a claim is beaten: so that a cancel is known soon enough to stop any engine within a second."""

PRESENCE_INTERVAL_S = 3.0
"""How often a worker says that it is alive; a change, such as a loaded model, is told with the next beat."""

_logger = structlog.get_logger(__name__)


class Heartbeat:
    """A thread that beats from `start` to `stop`; `watch` names the claim to be kept."""

    def __init__(
        self, runner: ScriptRunner, describe_worker: Callable[[], WorkerPresence], *, lease_s: float
    ) -> None:
        self._runner = runner
        self._describe_worker = describe_worker
        self._lease_s = lease_s
        self._claim: Claim | None = None
        self._directive = Directive.GO_ON
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._announced: WorkerPresence | None = None
        self._announced_at = 0.0
        self._thread = threading.Thread(target=self._beat_until_stopped, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin beating."""
        self._thread.start()

    def stop(self) -> None:
        """End beating and take the worker off the list of those alive."""
        self._stopped.set()
        self._thread.join(timeout=1)
        try:
            self._runner.run(retire_worker(self._describe_worker().worker_id))
        except QueueUnavailable:
            _logger.info("not_retired", reason="the queue does not answer; the presence expires by itself")

    def watch(self, claim: Claim | None) -> None:
        """Keep this claim from now on, or none."""
        with self._lock:
            self._claim = claim
            self._directive = Directive.GO_ON

    @property
    def directive(self) -> Directive:
        """What the record said last about the claim that is watched."""
        return self._directive

    def note_directive(self, directive: Directive) -> None:
        """Remember what another call about the same claim was told; to yield is the least of it."""
        if directive is Directive.YIELD and self._directive is not Directive.GO_ON:
            return
        if directive is not Directive.GO_ON:
            self._directive = directive

    def _beat_until_stopped(self) -> None:
        while not self._stopped.is_set():
            try:
                self._announce()
                self._beat()
            except QueueUnavailable:
                _logger.warning("beat_missed", reason="the queue does not answer")
            except Exception:  # border of the thread: without it the worker would count as dead
                _logger.exception("beat_failed")
            self._stopped.wait(BEAT_INTERVAL_S)

    def _announce(self) -> None:
        presence, now = self._describe_worker(), time.monotonic()
        if presence == self._announced and now - self._announced_at < PRESENCE_INTERVAL_S:
            return
        self._runner.run(announce_worker(presence))
        self._announced, self._announced_at = presence, now

    def _beat(self) -> None:
        claim = self._claim
        if claim is None:
            return
        directive = self._runner.run(beat_claim(claim, lease_s=self._lease_s))
        with self._lock:
            if self._claim is claim:
                self.note_directive(directive)
