"""A worker is woken by each job that enters the queue, however its connection breaks."""

import threading
from collections.abc import Iterator

import pytest

from shared.jobs import Endpoint, NewJob, Priority, TranscriptionRequest, Upload
from shared.record import queue_listener, transitions
from shared.record.admission import submit_job
from shared.record.connection import connect
from shared.record.queue_listener import QueueListener
from shared.record.scripts import ScriptRunner
from tests.support.patience import WITHIN_S
from tests.support.redis_fixture import RedisServer
from tests.support.single_claims import claim_job


class Woken:
    """A listener, and the wake-ups that it gave."""

    def __init__(self, redis_url: str) -> None:
        self._wake_ups = threading.Semaphore(0)
        self.record = connect(redis_url)
        self.listener = QueueListener(redis_url, self._wake_ups.release)
        self.listener.start()
        assert self.wait()  # it is connected

    def wait(self) -> bool:
        """Wait for a wake-up."""
        return self._wake_ups.acquire(timeout=WITHIN_S)

    def is_woken(self) -> bool:
        """Return whether a wake-up came that was not waited for."""
        return self._wake_ups.acquire(blocking=False)


@pytest.fixture
def woken(redis_url: str) -> Iterator[Woken]:
    woken = Woken(redis_url)
    yield woken
    woken.listener.stop()


@pytest.fixture
def mortal(mortal_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Woken]:
    monkeypatch.setattr(queue_listener, "PING_INTERVAL_S", 0.1)
    monkeypatch.setattr(queue_listener, "RECONNECT_S", 0.05)
    woken = Woken(mortal_redis.url)
    yield woken
    woken.listener.stop()


def submit(record: ScriptRunner, job_id: str) -> None:
    upload = Upload(job_id, "a.wav", 10, "ab", 2.0)
    record.run(submit_job(NewJob(job_id, Endpoint.JOBS, Priority.BATCH, upload, TranscriptionRequest())))


def test_a_submit_and_a_requeue_wake_the_worker(woken: Woken) -> None:
    submit(woken.record, "1")
    assert woken.wait()
    claim = woken.record.run(claim_job("w", engine="whisper", model="base", lease_s=30))
    assert claim is not None
    woken.record.run(transitions.yield_job(claim, reason="yielded"))
    assert woken.wait()


def test_a_repeated_submit_wakes_the_worker_once(woken: Woken) -> None:
    for _ in range(2):
        submit(woken.record, "1")
    submit(woken.record, "2")
    assert woken.wait()
    assert woken.wait()
    assert not woken.is_woken()


def test_a_job_of_an_outage_is_found_after_it(mortal: Woken, mortal_redis: RedisServer) -> None:
    mortal_redis.kill()
    mortal_redis.start()
    assert mortal.wait()  # for the new connection
    submit(mortal.record, "1")
    assert mortal.wait()


def test_a_connection_that_is_silent_is_replaced(mortal: Woken, mortal_redis: RedisServer) -> None:
    mortal_redis.freeze()
    threading.Event().wait(0.5)
    mortal_redis.thaw()
    assert mortal.wait()
    submit(mortal.record, "1")
    assert mortal.wait()


def test_a_quiet_connection_is_kept(mortal: Woken) -> None:
    threading.Event().wait(0.5)  # some pings
    assert not mortal.is_woken()
