"""The overhead of a synchronous call, where its time goes, and its growth with the number of clients."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from tests.bench.calls import Call, SyncClient, encode_form
from tests.bench.celery_baseline import BareCelery, open_bare_celery
from tests.bench.clips import make_noise, write_wav
from tests.bench.command_trace import CommandTrace, share_out
from tests.bench.figures import (
    Comparison,
    Count,
    Figure,
    Findings,
    Goal,
    Growth,
    Shares,
    find_percentile,
)
from tests.bench.interleaving import order_runs
from tests.bench.server import BenchServer, serve
from tests.bench.settings import BenchSettings
from worker.engines.scripted.engine import expected_words

CLIP_S = 2
WARM_UP_CALLS = 10
P99_CALLS = 100  # the fewest that have a 99th percentile
ADDED_GOAL = Goal(15.0, Comparison.ADDED)
NOTES = (
    f"Clients on kept connections send a WAV file of {CLIP_S} s to `POST /v1/audio/transcriptions`, call "
    "after call, with the model loaded. The scripted engine takes no time. A call is timed from its first "
    "byte to the end of its answer. `AsyncResult.get` waits for the same work in a bare Celery task: one "
    "`GET /health` stands for HTTP, the upload is stored and synced, a sandboxed decoder examines and "
    "decodes it, and the engine gets the samples. The parts of a call are further calls under Redis's "
    "MONITOR."
)


@dataclass
class _Sampler:
    """The measured server, its clients, and the texts that they got."""

    server: BenchServer
    celery: BareCelery
    file: bytes
    texts: list[str]

    def time_calls(self, clients: int, calls: int) -> list[float]:
        """Return the times of all calls, in ms; each client makes its share of them."""
        form = encode_form(self.file, {"response_format": "json"})
        each = max(1, calls // clients)
        with ThreadPoolExecutor(clients) as pool:
            series = [
                pool.submit(self._call, each, lambda client: client.transcribe(form)) for _ in range(clients)
            ]
            made = [call for one in series for call in one.result()]
        self.texts += [json.loads(call.body)["text"] for call in made]
        return [call.took_ms for call in made]

    def time_health(self, calls: int) -> list[float]:
        """Return the times of bare GET requests, in ms."""
        return [call.took_ms for call in self._call(calls, SyncClient.get_health)]

    def time_results(self, calls: int) -> list[float]:
        """Return the times of the same work by Celery's results, in ms."""
        taken = []
        for health_ms in self.time_health(calls):
            began = time.perf_counter()
            self.texts.append(self.celery.transcribe(self.file))
            taken.append(health_ms + (time.perf_counter() - began) * 1000)
        return taken

    def trace(self, calls: int) -> Shares:
        """Return the medians of the parts of a call."""
        form = encode_form(self.file, {"response_format": "json"})
        with CommandTrace(self.server.redis_socket) as commands:
            made = self._call(calls, lambda client: client.transcribe(form))
        stages = share_out(made, commands.read_commands())
        parts = {name: median(values) for name, values in stages.items() if values}
        return Shares("The parts of a synchronous call", "ms", parts)

    def _call(self, times: int, call: Callable[[SyncClient], Call]) -> list[Call]:
        client = SyncClient(self.server.port)
        try:
            return [call(client) for _ in range(times)]
        finally:
            client.close()


@dataclass(frozen=True)
class _Rounds:
    """The times of each round, in ms."""

    here: Sequence[Sequence[float]]
    health: Sequence[Sequence[float]]
    results: Sequence[Sequence[float]]

    def find(self, share: float) -> tuple[list[float], list[float], list[float]]:
        """Return a percentile of each round."""
        here, health, results = (
            [find_percentile(times, share) for times in rounds]
            for rounds in (self.here, self.health, self.results)
        )
        return here, health, results


async def measure_sync(settings: BenchSettings, folder: Path) -> Findings:
    """Time calls of one client beside their counterparts, then of more clients."""
    samples = make_noise(CLIP_S)
    text = " ".join(expected_words(samples.astype(np.float32) / np.float32(1 << 15)))
    async with serve(folder) as server, open_bare_celery(server.redis_url, folder) as celery:
        await server.start_worker()
        sampler = _Sampler(server, celery, write_wav(samples), [])
        rounds = await asyncio.to_thread(_take_rounds, sampler, settings)
        growth = await asyncio.to_thread(_grow, sampler, settings, rounds)
        parts = await asyncio.to_thread(sampler.trace, settings.scale.calls)
    wrong = sum(found != text for found in sampler.texts)
    return Findings(
        "Synchronous calls",
        NOTES,
        _describe(rounds),
        [Count("wrong transcripts", wrong, 0)],
        [growth],
        [parts],
    )


def _take_rounds(sampler: _Sampler, settings: BenchSettings) -> _Rounds:
    calls = settings.scale.calls
    runs: Sequence[Callable[[int], list[float]]] = (
        partial(sampler.time_calls, 1),
        sampler.time_health,
        sampler.time_results,
    )
    for run in runs:
        run(WARM_UP_CALLS)
    taken: tuple[list[list[float]], ...] = ([], [], [])
    for number in range(settings.scale.rounds):
        for series, run in order_runs(list(zip(taken, runs, strict=True)), number):
            series.append(run(calls))
    return _Rounds(*taken)


def _grow(sampler: _Sampler, settings: BenchSettings, rounds: _Rounds) -> Growth:
    points = {1.0: rounds.find(0.5)[0]}
    for clients in settings.scale.clients[1:]:
        calls = max(settings.scale.calls, 2 * clients)
        points[clients] = [
            find_percentile(sampler.time_calls(clients, calls), 0.5) for _ in range(settings.scale.rounds)
        ]
    return Growth("Synchronous call, p50", "client", "ms", {"this server": points})


def _describe(rounds: _Rounds) -> list[Figure]:
    here, health, results = rounds.find(0.5)
    faster = Goal(1.0, Comparison.RATIO)
    figures = [
        Figure("synchronous call, p50", "ms", here, health, "GET /health", ADDED_GOAL),
        Figure("the same work, p50", "ms", here, results, "AsyncResult.get", faster),
    ]
    if min(map(len, rounds.here)) < P99_CALLS:
        return figures
    here, health, results = rounds.find(0.99)
    return [
        *figures,
        Figure("synchronous call, p99", "ms", here, health, "GET /health"),
        Figure("the same work, p99", "ms", here, results, "AsyncResult.get"),
    ]
