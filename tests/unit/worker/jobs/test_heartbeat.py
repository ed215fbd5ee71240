"""A cancel is known in time, and an error in one beat does not end the heartbeat."""

import threading
from typing import cast

from shared.capabilities import WorkerPresence
from shared.record.scripts import ScriptRunner
from worker.jobs.heartbeat import BEAT_INTERVAL_S, Heartbeat
from worker.jobs.transcription import POLL_S
from worker.settings import WorkerSettings


def test_a_cancel_ends_any_engine_within_a_second() -> None:
    grace_s = WorkerSettings().cancel_grace_ms / 1000
    assert BEAT_INTERVAL_S + POLL_S + grace_s + POLL_S <= 0.9


def test_an_unexpected_error_costs_one_beat() -> None:
    described = threading.Semaphore(0)

    def describe_worker() -> WorkerPresence:
        described.release()
        raise RuntimeError

    heartbeat = Heartbeat(cast(ScriptRunner, None), describe_worker, lease_s=1)
    heartbeat.start()
    for _ in range(2):
        assert described.acquire(timeout=30)
    heartbeat._stopped.set()
