"""A sweep that fails is not the last one."""

import threading

from shared.broker import create_celery
from shared.record.connection import connect
from shared.record.sweeper import Sweeper
from shared.settings import SharedSettings


class BreakingSweeper(Sweeper):
    """Counts its sweeps, each of which breaks."""

    def __init__(self, redis_url: str) -> None:
        super().__init__(connect(redis_url), create_celery(redis_url), SharedSettings(redis_url=redis_url))
        self.sweeps = threading.Semaphore(0)

    def sweep(self) -> None:
        self.sweeps.release()
        raise RuntimeError


def test_an_error_that_nobody_foresaw_costs_one_sweep(redis_url: str) -> None:
    sweeper = BreakingSweeper(redis_url)
    sweeper.start()
    for _ in range(2):
        assert sweeper.sweeps.acquire(timeout=30)
    sweeper.stop()
