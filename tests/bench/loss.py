"""The time until a killed worker is noticed, and until its model process is gone."""

import time
from pathlib import Path

from cli.up.descendants import is_alive
from shared.events import AnyEvent, Partial, Requeued, Succeeded
from tests.bench.clips import make_noise, write_wav
from tests.bench.figures import Count, Figure, Findings, Goal
from tests.bench.job_watch import submit, wait_for_event, wait_for_kind
from tests.bench.server import BenchServer, serve
from tests.bench.settings import BenchSettings
from tests.chaos.waiting import wait_until

NOTICED_WITHIN_S = 2.0  # after the lease
GONE_GOAL = Goal(1.0)
LOOK_EVERY_S = 0.002
CLIP_S = 8
SPEED = 4  # the job runs for two seconds

LEASE_S = 3.0
NOTES = (
    "kill -9 of the only worker in the middle of a job, with the scripted engine. The loss is noticed when "
    f"`requeued` is logged. The lease (LEASE_S={LEASE_S:g}) is renewed four times a second, so part of it is "
    "over by then. The model process is gone when it has left the machine's list of processes, read every "
    f"{LOOK_EVERY_S * 1000:g} ms. Each job then continues with the next worker."
)


async def measure_loss(settings: BenchSettings, folder: Path) -> Findings:
    """Kill workers one after the other."""
    async with serve(folder, LEASE_S=f"{LEASE_S:g}") as server:
        await server.start_worker()
        lost = [await _kill_once(server) for _ in range(settings.scale.faults)]
    noticed_s, gone_s = zip(*lost, strict=True)
    figures = [
        Figure("dead worker noticed after", "s", noticed_s, goal=Goal(LEASE_S + NOTICED_WITHIN_S)),
        Figure("model process gone after kill -9 of its worker", "s", gone_s, goal=GONE_GOAL),
    ]
    counts = [Count("jobs that continued", len(lost), settings.scale.faults)]
    return Findings("A worker is killed", NOTES, figures, counts)


async def _kill_once(server: BenchServer) -> tuple[float, float]:
    """Return the seconds from the kill until it was noticed, and until the model process was gone."""
    job_id = await submit(server, write_wav(make_noise(CLIP_S)), speed=SPEED)
    await wait_for_kind(server, job_id, Partial)
    models = server.find_model_processes()
    if not models:
        raise RuntimeError("a job runs without a model process")
    killed_s = time.time()
    server.kill_worker()
    await wait_until(lambda: not any(map(is_alive, models)), every_s=LOOK_EVERY_S)
    gone_s = time.time()
    await server.bury_worker()
    requeued = await wait_for_event(server, job_id, _is_loss)
    await server.start_worker()
    await wait_for_kind(server, job_id, Succeeded)
    return requeued.at_s - killed_s, gone_s - killed_s


def _is_loss(event: AnyEvent) -> bool:
    return isinstance(event, Requeued) and event.reason == "worker_lost"
