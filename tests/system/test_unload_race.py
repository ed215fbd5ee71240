"""Jobs that arrive while the idle model is unloaded are served like all others."""

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.audio import make_tones, spoken_text, write_wav
from tests.support.endpoints import read_success, submit
from tests.support.server import RealServer

IDLE_S = 0.1
SAMPLES = make_tones(2, seed=5)
TEXT = spoken_text(SAMPLES)
FILE = write_wav(SAMPLES)
MakeServer = Callable[..., RealServer]


@pytest.mark.full
def test_none_of_many_jobs_around_the_unload_is_lost_or_disturbed(make_server: MakeServer) -> None:
    server = make_server(IDLE_TIMEOUT=str(IDLE_S)).start()
    random_s = random.Random(11)  # noqa: S311 - to be the same each time

    def submit_later(delay_s: float) -> str:
        time.sleep(delay_s)
        return submit(server, FILE)

    jobs = []
    with ThreadPoolExecutor() as clients:
        for _ in range(12):
            delays_s = [random_s.uniform(0.5, 1.5) * IDLE_S for _ in range(3)]
            locations = list(clients.map(submit_later, delays_s))
            jobs += [read_success(server, location) for location in locations]

    assert [job["transcript"]["text"] for job in jobs] == [TEXT] * len(jobs)
    assert {job["attempt"] for job in jobs} == {1}
    # Some of them met a model that was about to go, some one that had gone.
    assert 3 < server.log_text().count("model_process_started") < len(jobs)
