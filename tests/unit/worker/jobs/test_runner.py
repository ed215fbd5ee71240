"""The thread that runs the jobs survives every error on it."""

import threading
from collections.abc import Sequence
from typing import cast

import pytest

from shared.capabilities import ModelState
from shared.jobs import Claim
from worker.jobs.runner import JobRunner
from worker.model.host import ModelHost


class UnendingHost:
    """A model process whose first unload fails."""

    may_start = True

    def __init__(self) -> None:
        self.state = ModelState.READY
        self.tries = 0

    def detect_death(self) -> None:
        pass

    def unload(self, reason: str = "idle") -> None:
        self.tries += 1
        if self.tries == 1:
            raise RuntimeError
        self.state = ModelState.ABSENT


class MortalHost:
    """A model process that dies while it is idle."""

    may_start = True

    def __init__(self) -> None:
        self.state = ModelState.READY
        self.is_gone = False
        self.looked = threading.Event()

    def detect_death(self) -> None:
        if self.is_gone:
            self.looked.set()

    def unload(self, reason: str = "idle") -> None:
        self.state = ModelState.ABSENT


def test_the_death_of_an_idle_process_is_detected_without_a_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.jobs.runner.POLL_INTERVAL_S", 0.01)
    host = MortalHost()
    runner = JobRunner(
        cast(ModelHost, host),
        lambda: (),
        lambda _: None,
        idle_timeout_s=0,
        is_stopping=threading.Event(),
    )
    runner.start()
    runner.serve_ticket()
    host.is_gone = True
    assert host.looked.wait(30)
    runner.begin_stop()
    runner.join(30)


def test_an_error_while_unloading_does_not_end_the_worker() -> None:
    host = UnendingHost()
    runner = JobRunner(
        cast(ModelHost, host),
        lambda: (),
        lambda _: None,
        idle_timeout_s=0.01,
        is_stopping=threading.Event(),
    )
    runner.start()
    while host.state is not ModelState.ABSENT:
        runner.serve_ticket()
        assert runner._thread.is_alive()
    runner.begin_stop()
    runner.join(30)


def test_wake_ups_during_a_check_cost_one_more_check() -> None:
    checks: list[int] = []
    begun, may_end = threading.Semaphore(0), threading.Semaphore(0)

    def claim_group() -> Sequence[Claim]:
        checks.append(len(checks))
        begun.release()
        may_end.acquire(timeout=30)
        return ()

    host = MortalHost()
    host.state = ModelState.ABSENT
    runner = JobRunner(
        cast(ModelHost, host), claim_group, lambda _: None, idle_timeout_s=0, is_stopping=threading.Event()
    )
    runner.start()
    runner.wake()
    assert begun.acquire(timeout=30)
    for _ in range(100):
        runner.wake()
    may_end.release()
    assert begun.acquire(timeout=30)
    runner.begin_stop()
    may_end.release()
    runner.join(30)
    assert checks == [0, 1]
