"""Jobs per second through the whole path, beside bare Celery tasks that do nothing."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.bench.calls import SyncClient, encode_form
from tests.bench.celery_baseline import open_bare_celery
from tests.bench.clips import make_noise, write_wav
from tests.bench.figures import Bound, Comparison, Figure, Findings, Goal, Growth
from tests.bench.interleaving import interleave
from tests.bench.job_watch import wait_for_state
from tests.bench.server import BenchServer, serve
from tests.bench.settings import BenchSettings

CLIP_S = 1
MAIN_CLIENTS = 4
GOAL = Goal(0.6, Comparison.RATIO, Bound.AT_LEAST)
NOTES = (
    f"Clients submit WAV files of {CLIP_S} s to `POST /v1/jobs`; the scripted engine takes no time. The time "
    "counts from the first request to the end of the last job: upload, examination, queue, decoding, model "
    f"process and final transition. The row has {MAIN_CLIENTS} clients. The counterpart are tasks that do "
    "nothing, of a bare Celery worker with the same broker, pool and configuration, from the first send to "
    "the last end."
)


@dataclass(frozen=True)
class _Submitters:
    """Clients that submit jobs."""

    server: BenchServer
    form: bytes

    async def run(self, clients: int, jobs: int) -> float:
        """Return the jobs per second."""
        began = time.perf_counter()
        last_ids = await asyncio.to_thread(self._submit_all, clients, jobs // clients)
        for job_id in last_ids:
            await wait_for_state(self.server, job_id, "succeeded")
        return clients * (jobs // clients) / (time.perf_counter() - began)

    def _submit_all(self, clients: int, each: int) -> list[str]:
        with ThreadPoolExecutor(clients) as pool:
            return list(pool.map(self._submit, [each] * clients))

    def _submit(self, times: int) -> str:
        client = SyncClient(self.server.port)
        try:
            answers = [client.submit(self.form).body for _ in range(times)]
        finally:
            client.close()
        return str(json.loads(answers[-1])["id"])


async def measure_jobs(settings: BenchSettings, folder: Path) -> Findings:
    """Run jobs and bare tasks in turns, then jobs of more clients."""
    scale = settings.scale
    async with serve(folder) as server, open_bare_celery(server.redis_url, folder) as celery:
        await server.start_worker()
        submitters = _Submitters(server, encode_form(write_wav(make_noise(CLIP_S)), {}))

        async def run_here() -> float:
            return await submitters.run(MAIN_CLIENTS, scale.jobs)

        async def run_bare() -> float:
            began = time.perf_counter()
            await asyncio.to_thread(celery.run_nothing, scale.jobs)
            return scale.jobs / (time.perf_counter() - began)

        await submitters.run(1, MAIN_CLIENTS)
        await run_bare()
        rates = await interleave(scale.rounds, {"here": run_here, "bare": run_bare})
        points = {
            float(clients): [
                await submitters.run(clients, max(scale.jobs, clients)) for _ in range(scale.rounds)
            ]
            for clients in scale.clients
        }
    figure = Figure("jobs through the whole path", "1/s", rates["here"], rates["bare"], "bare Celery", GOAL)
    growth = Growth("Jobs per second", "client", "1/s", {"this server": points})
    return Findings("Jobs per second", NOTES, [figure], growths=[growth])
