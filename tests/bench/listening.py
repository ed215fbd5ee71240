"""Thousands of listeners on one api process: the cost of each, the delay, and missed events."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import psutil

from tests.bench.audience import Audience, open_audience
from tests.bench.figures import Count, Findings, Goal, Series, Statistic
from tests.bench.listener_process import ListenOrder, Received
from tests.bench.publisher import Publisher
from tests.bench.server import BenchServer, serve
from tests.bench.settings import BenchSettings

DELAY_GOAL = Goal(Statistic.P99, 20.0)
WARM_UP = 100
SETTLE_S = 3.0
END_WITHIN_S = 60.0
RESPITE_S = 2.0  # for events still on their way after the last publish

_NOTES = (
    "{listeners} listeners in a separate process, each on the events of its own job at "
    "`/v1/jobs/{{id}}/events`, all on one api process. The bench is their worker and publishes {events} "
    "events, {per_s:.0f} a second over all jobs ({wanted:g} requested). A delay counts from before the "
    "worker's call to Redis until the listener's socket is read. The api's default heartbeats and re-checks "
    "go on. Memory is the api's RSS after the events, minus its RSS before the listeners "
    "({before_mb:.0f} MB), divided by their number."
)


async def measure_listeners(settings: BenchSettings, folder: Path) -> Findings:
    """Connect listeners, publish, and compare the events they received with the published ones."""
    async with serve(folder) as server:
        await _warm_up(server)
        api = psutil.Process(server.pid_of("api"))
        publisher = await asyncio.to_thread(Publisher, server.redis_url, settings.listeners)
        before = api.memory_info().rss
        try:
            async with open_audience() as audience:
                return await _measure(settings, server, publisher, audience, before)
        finally:
            publisher.close()


async def _measure(
    settings: BenchSettings, server: BenchServer, publisher: Publisher, audience: Audience, before: int
) -> Findings:
    api = psutil.Process(server.pid_of("api"))
    await audience.connect(ListenOrder(server.port, tuple(publisher.job_ids)))
    await asyncio.sleep(SETTLE_S)
    api.cpu_percent()
    per_s = await asyncio.to_thread(publisher.publish, settings.events, settings.events_per_s)
    cpu_percent = api.cpu_percent()
    connections = await asyncio.to_thread(publisher.count_connections)
    memory_kb = (api.memory_info().rss - before) / 1000 / settings.listeners
    await asyncio.sleep(RESPITE_S)
    await asyncio.to_thread(publisher.end_jobs)
    received = await audience.collect(within_s=END_WITHIN_S)
    notes = _NOTES.format(
        listeners=settings.listeners,
        events=settings.events,
        per_s=per_s,
        wanted=settings.events_per_s,
        before_mb=before / 1e6,
    )
    delays_ms = [delay for one in received for delay in one.delays_ms]
    series = [
        Series("from publish to receive, ms", delays_ms, DELAY_GOAL),
        Series("memory of the api per listener, kB", [memory_kb]),
    ]
    counts = [
        *count_harm(publisher.published, received),
        Count("connections of the api to Redis", str(connections)),
        Count("CPU of the api while events were published, of one core", f"{cpu_percent:.0f} %"),
    ]
    return Findings("Listeners", notes, series, counts)


async def _warm_up(server: BenchServer) -> None:
    """Let the api load what any number of listeners needs once."""
    publisher = await asyncio.to_thread(Publisher, server.redis_url, WARM_UP)
    async with open_audience() as audience:
        await audience.connect(ListenOrder(server.port, tuple(publisher.job_ids)))
        await asyncio.to_thread(publisher.publish, WARM_UP, WARM_UP)
        await asyncio.to_thread(publisher.end_jobs)
        await audience.collect(within_s=END_WITHIN_S)
    publisher.close()


def count_harm(published: Mapping[str, Sequence[int]], received: Sequence[Received]) -> list[Count]:
    """Count the events that listeners missed or got twice or out of order, and how their streams ended."""
    pairs = list(zip(published.values(), received, strict=True))
    numbers = [one.numbers for one in received]
    missed = sum(len(set(sent) - set(one.numbers)) for sent, one in pairs)
    twice = sum(len(one) - len(set(one)) for one in numbers)
    reordered = sum(ids != sorted(ids) for ids in ([*map(_sort_key, one.ids)] for one in received))
    reordered += sum(later < earlier for one in numbers for earlier, later in pairwise(one))
    ended = sum(one.finals == 1 and one.is_closed for one in received)
    return [
        Count("events published", str(sum(map(len, published.values())))),
        Count("events that their listener missed", str(missed), "0"),
        Count("events that their listener got twice", str(twice), "0"),
        Count("events out of order", str(reordered), "0"),
        Count("listeners with one final event, whose stream then ended", str(ended), str(len(received))),
    ]


def _sort_key(event_id: str) -> tuple[int, int]:
    ms, _, number = event_id.partition("-")
    return int(ms), int(number)
