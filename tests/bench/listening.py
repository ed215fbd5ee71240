"""Thousands of listeners on one api process: the cost of each, the delay, and missed events."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

from tests.bench.audience import Audience, open_audience
from tests.bench.figures import Count, Figure, Findings, Goal, Growth, find_percentile
from tests.bench.listener_process import ListenOrder, Received
from tests.bench.machine import allow_connections
from tests.bench.publisher import Publisher
from tests.bench.server import BenchServer, serve
from tests.bench.settings import BenchSettings

DELAY_GOAL = Goal(20.0)
MEMORY_GOAL = Goal(60.0)
EVENTS_PER_S = 200.0
WARM_UP = 100
SETTLE_S = 3.0
END_WITHIN_S = 60.0
RESPITE_S = 2.0  # for events still on their way after the last publish
NOTES = (
    "Listeners in a separate process, each on the events of its own job at `/v1/jobs/{{id}}/events`, all on "
    "one api process. The bench is their worker and publishes {events} events, {per_s:g} a second over all "
    "jobs. A delay counts from before the worker's call to Redis until the listener's socket is read. The "
    "api's default heartbeats and re-checks go on. Memory is the growth of the api's RSS, divided by the "
    "number of listeners."
)


@dataclass(frozen=True)
class _Heard:
    """The outcome with one number of listeners."""

    delays_ms: Sequence[float]
    memory_kb: float
    counts: Sequence[Count]


async def measure_listeners(settings: BenchSettings, folder: Path) -> Findings:
    """Connect listeners, publish, and compare the events they received with the published ones."""
    heard: dict[int, list[_Heard]] = {}
    for listeners in settings.listener_counts:
        for number in range(settings.scale.few_rounds if listeners == max(settings.listener_counts) else 1):
            place = folder.with_name(f"listeners{listeners}-{number}")
            heard.setdefault(listeners, []).append(await _listen(settings.scale.events, listeners, place))
    most = max(heard)
    delays = {
        float(count): [find_percentile(one.delays_ms, 0.99) for one in rounds]
        for count, rounds in heard.items()
    }
    memory = {float(count): [one.memory_kb for one in rounds] for count, rounds in heard.items()}
    name = f"{most} listeners"
    medians = [find_percentile(one.delays_ms, 0.5) for one in heard[most]]
    figures = [
        Figure(f"{name}: from publish to receive, p50", "ms", medians),
        Figure(f"{name}: from publish to receive, p99", "ms", delays[most], goal=DELAY_GOAL),
        Figure(f"{name}: memory of the api for each", "kB", memory[most], goal=MEMORY_GOAL),
    ]
    growths = [
        Growth("From publish to receive, p99", "listener", "ms", {"this server": delays}),
        Growth("Memory of the api for each listener", "listener", "kB", {"this server": memory}),
    ]
    counts = sum_counts(count for rounds in heard.values() for one in rounds for count in one.counts)
    notes = NOTES.format(events=settings.scale.events, per_s=EVENTS_PER_S)
    return Findings("Listeners", notes, figures, counts, growths)


async def _listen(events: int, listeners: int, folder: Path) -> _Heard:
    allow_connections(listeners)
    async with serve(folder) as server:
        await _warm_up(server)
        publisher = await asyncio.to_thread(Publisher, server.redis_url, listeners)
        try:
            async with open_audience() as audience:
                return await _publish(server, publisher, audience, events)
        finally:
            publisher.close()


async def _publish(server: BenchServer, publisher: Publisher, audience: Audience, events: int) -> _Heard:
    api = psutil.Process(server.pid_of("api"))
    before = api.memory_info().rss
    await audience.connect(ListenOrder(server.port, tuple(publisher.job_ids)))
    await asyncio.sleep(SETTLE_S)
    await asyncio.to_thread(publisher.publish, events, EVENTS_PER_S)
    memory_kb = (api.memory_info().rss - before) / 1000 / len(publisher.job_ids)
    await asyncio.sleep(RESPITE_S)
    await asyncio.to_thread(publisher.end_jobs)
    received = await audience.collect(within_s=END_WITHIN_S)
    delays_ms = [delay for one in received for delay in one.delays_ms]
    return _Heard(delays_ms, memory_kb, count_harm(publisher.published, received))


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
        Count("events that their listener missed", missed, 0),
        Count("events that their listener got twice", twice, 0),
        Count("events out of order", reordered, 0),
        Count("listeners with one final event, whose stream then ended", ended, len(received)),
    ]


def sum_counts(counts: Iterable[Count]) -> list[Count]:
    """Return the counts of several runs as one for each name."""
    totals: dict[str, Count] = {}
    for one in counts:
        before = totals.get(one.name, Count(one.name, 0, 0))
        totals[one.name] = Count(one.name, before.here + one.here, before.must_be + one.must_be)
    return list(totals.values())


def _sort_key(event_id: str) -> tuple[int, int]:
    ms, _, number = event_id.partition("-")
    return int(ms), int(number)
