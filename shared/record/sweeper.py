"""The sweeper: ends expired leases and waits, deletes audio that no job needs and replaces lost tickets.

One sweeper runs in every api and every worker process. None leads, since each step is one atomic script.
"""

import threading
import time
from collections.abc import Sequence

import structlog
from celery import Celery

from shared.broker import QUEUE_NAME, send_ticket
from shared.errors import QueueUnavailable
from shared.jobs import JobState
from shared.logs import log_job_end
from shared.record.keys import Key
from shared.record.listeners import cancel_unattended
from shared.record.readings import Absence, find_job
from shared.record.scripts import PlainCall, ScriptRunner, parse_ids
from shared.record.transitions import expire_queued, forget_jobs, sweep_expired_leases
from shared.record.version import RecordVersionMismatch, check_version
from shared.settings import SharedSettings
from shared.upload_store import UploadStore

SWEEP_INTERVAL_S = 1.0

SLOW_INTERVAL_S = 60.0
"""Seconds between two deletions of old uploads, and between two log lines about another record version."""

SETTLED_S = 600.0
"""The job of a younger upload may not exist yet, since its request is still on its way in."""

UNFINISHED_S = 3_600.0
"""An unfinished upload without a write for so long is left over from an api that was killed."""

MAX_DISCARDED = 1000
"""The number of discarded uploads that one call lists."""

_logger = structlog.get_logger(__name__)


class Sweeper:
    """Sweeps each second, and old uploads each minute, on a thread of its own from `start` to `stop`."""

    def __init__(self, runner: ScriptRunner, celery: Celery, settings: SharedSettings) -> None:
        self._runner = runner
        self._celery = celery
        self._settings = settings
        self._uploads = UploadStore(settings.uploads_dir)
        self._has_checked_version = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sweep_until_stopped, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin sweeping."""
        self._thread.start()

    def stop(self) -> None:
        """End sweeping; returns when the thread has ended or hangs in a dead connection for a second."""
        self._stopped.set()
        self._thread.join(timeout=1)

    def sweep(self) -> None:
        """Sweep once, unless the record has another version.

        Raises:
            QueueUnavailable: Redis does not answer.
            RecordVersionMismatch: the record has another version.
        """
        if not self._has_checked_version:  # Redis may have been away when the process checked it
            check_version(self._runner)
            self._has_checked_version = True
        settings, ttl_s = self._settings, self._settings.job_ttl_s
        for job_id, outcome in self._runner.run(sweep_expired_leases(ttl_s=ttl_s)).items():
            _logger.warning("lease_expired", job_id=job_id, outcome=outcome)
            if outcome != "requeued":
                log_job_end(outcome, job_id=job_id, reason="worker_lost")
                self._delete_samples(job_id)
        if settings.queue_ttl_s > 0:
            for job_id in self._runner.run(expire_queued(queue_ttl_s=settings.queue_ttl_s, ttl_s=ttl_s)):
                log_job_end("failed", job_id=job_id, reason="expired")
                self._delete_samples(job_id)
        for job_id, was in self._runner.run(cancel_unattended(ttl_s=ttl_s)).items():
            _logger.info("listener_lease_expired", job_id=job_id)
            if was == JobState.QUEUED:
                log_job_end("cancelled", job_id=job_id, reason="listener_lease_expired")
        self.delete_discarded_uploads()
        self._runner.run(forget_jobs())
        if self._runner.run(needs_ticket(QUEUE_NAME)):
            send_ticket(self._celery)

    def delete_discarded_uploads(self) -> None:
        """Delete the audio of all cancelled and deleted jobs; no other place does. Thread-safe.

        Raises:
            QueueUnavailable: Redis does not answer. The next sweep deletes the audio.
        """
        while discarded := self._runner.run(list_discarded_uploads()):
            for job_id in discarded:
                self._delete(job_id)  # one that stays goes when UPLOAD_TTL_S is over
            self._runner.run(forget_discarded_uploads(discarded))

    def delete_old_uploads(self) -> None:
        """Delete each upload past its TTL whose job is gone or final, and what never became one.

        Raises:
            QueueUnavailable: Redis does not answer.
            OSError: the folder of uploads cannot be read.
        """
        ttl_s = self._settings.upload_ttl_s
        for name in self._uploads.list_unfinished(UNFINISHED_S):
            self._delete(name)
        settled = self._uploads.list_older_than(max(ttl_s, SETTLED_S))
        for name in self._uploads.list_older_than(ttl_s):
            job = self._runner.run(find_job(name, owner=None))
            is_due = name in settled if isinstance(job, Absence) else job.state.is_final
            if is_due and self._delete(name):
                _logger.info("upload_deleted", job_id=name)

    def _delete(self, name: str) -> bool:
        """Delete an upload. A failure is logged, so that it does not stop the deletion of others."""
        try:
            self._uploads.delete(name)
        except OSError as error:
            _logger.warning("upload_not_deleted", job_id=name, reason=repr(error))
            return False
        return True

    def _delete_samples(self, name: str) -> None:
        """Free the disk of a job that has failed. Its upload stays for UPLOAD_TTL_S."""
        try:
            self._uploads.delete_samples(name)
        except OSError as error:  # they are deleted with the upload
            _logger.warning("samples_not_deleted", job_id=name, reason=repr(error))

    def _sweep_until_stopped(self) -> None:
        uploads_due_s = time.monotonic() + SLOW_INTERVAL_S
        mismatch_due_s = 0.0
        while not self._stopped.wait(SWEEP_INTERVAL_S):
            now_s = time.monotonic()
            try:
                self.sweep()
                if now_s >= uploads_due_s:
                    uploads_due_s = now_s + SLOW_INTERVAL_S
                    self.delete_old_uploads()
            except QueueUnavailable:
                _logger.warning("sweep_skipped", reason="Redis does not answer")
            except RecordVersionMismatch as error:
                if now_s >= mismatch_due_s:
                    mismatch_due_s = now_s + SLOW_INTERVAL_S
                    _logger.critical("record_version_mismatch", reason=str(error))
            except Exception:  # border of the thread: without sweeps no lease expires
                _logger.exception("sweep_failed")


def list_discarded_uploads() -> PlainCall[list[str]]:
    """List up to MAX_DISCARDED cancelled or deleted jobs whose audio may still be stored."""
    commands = (("SRANDMEMBER", Key.DISCARDED, MAX_DISCARDED),)
    return PlainCall(commands, lambda replies: parse_ids(replies[0]))


def forget_discarded_uploads(job_ids: Sequence[str]) -> PlainCall[int]:
    """Record that the audio of these jobs (at least one) is deleted."""
    return PlainCall((("SREM", Key.DISCARDED, *job_ids),), sum)


def needs_ticket(broker_queue: str) -> PlainCall[bool]:
    """Check whether jobs are queued while the broker's queue, a Redis list, has no ticket."""
    commands = (("ZCARD", Key.QUEUED), ("LLEN", broker_queue))
    return PlainCall(commands, lambda replies: replies[0] > 0 and replies[1] == 0)
