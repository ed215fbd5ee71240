"""What the record says of a claim is remembered, the gravest of it; a beat that breaks is not the last."""

import threading
from typing import cast

import pytest

from shared.capabilities import WorkerPresence
from shared.jobs import Directive
from shared.record.scripts import ScriptRunner
from worker.jobs.heartbeat import BEAT_INTERVAL_S, Heartbeat
from worker.jobs.transcription import POLL_S
from worker.settings import WorkerSettings


def describe_nobody() -> WorkerPresence:
    raise AssertionError


@pytest.mark.parametrize("graver", [Directive.CANCEL, Directive.STALE])
def test_a_yield_that_is_told_late_takes_nothing_back(graver: Directive) -> None:
    heartbeat = Heartbeat(cast(ScriptRunner, None), describe_nobody, lease_s=1)
    for told, remembered in [
        (Directive.GO_ON, Directive.GO_ON),
        (Directive.YIELD, Directive.YIELD),
        (Directive.GO_ON, Directive.YIELD),
        (graver, graver),
        (Directive.YIELD, graver),
    ]:
        heartbeat.note_directive(told)
        assert heartbeat.directive is remembered


def test_a_cancel_ends_any_engine_within_a_second() -> None:
    grace_s = WorkerSettings().cancel_grace_ms / 1000
    assert BEAT_INTERVAL_S + POLL_S + grace_s + POLL_S <= 0.9


def test_an_error_that_nobody_foresaw_costs_one_beat() -> None:
    described = threading.Semaphore(0)

    def describe_worker() -> WorkerPresence:
        described.release()
        raise RuntimeError

    heartbeat = Heartbeat(cast(ScriptRunner, None), describe_worker, lease_s=1)
    heartbeat.start()
    for _ in range(2):
        assert described.acquire(timeout=30)
    heartbeat._stopped.set()
