"""The time until an idle model process is gone, and its memory is free."""

import time
from pathlib import Path

from cli.up.descendants import is_alive
from shared.events import Succeeded
from tests.bench.clips import make_noise, write_wav
from tests.bench.figures import Findings, Goal, Series, Statistic
from tests.bench.job_watch import submit, wait_for_kind
from tests.bench.server import BenchServer, serve
from tests.bench.settings import BenchSettings
from tests.chaos.waiting import wait_until

GONE_WITHIN_S = 2.0  # after IDLE_TIMEOUT
LOOK_EVERY_S = 0.005
CLIP_S = 2

_NOTES = (
    "From the event `succeeded` of the only job until the model process has left the machine's list of "
    "processes, with IDLE_TIMEOUT={idle_timeout:g}. Its memory, including that of a GPU, is free then."
)


async def measure_idle(settings: BenchSettings, folder: Path) -> Findings:
    """Leave a loaded model idle, several times."""
    async with serve(folder, IDLE_TIMEOUT=f"{settings.idle_timeout:g}") as server:
        await server.start_worker()
        gone_s = [await _wait_for_unload(server) for _ in range(settings.rounds)]
    goal = Goal(Statistic.MAX, settings.idle_timeout + GONE_WITHIN_S)
    notes = _NOTES.format(idle_timeout=settings.idle_timeout)
    return Findings(
        "A model is idle", notes, [Series("model process gone after the last job, s", gone_s, goal)]
    )


async def _wait_for_unload(server: BenchServer) -> float:
    job_id = await submit(server, write_wav(make_noise(CLIP_S)))
    succeeded = await wait_for_kind(server, job_id, Succeeded)
    models = server.find_model_processes()
    if not models:
        raise RuntimeError("the model process was gone before it was idle")
    await wait_until(lambda: not any(map(is_alive, models)), every_s=LOOK_EVERY_S)
    return time.time() - succeeded.at_s
