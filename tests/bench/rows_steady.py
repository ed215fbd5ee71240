"""Clips that arrive at the Qwen engine in a steady stream, at shares of its capacity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.clip_calls import draw_arrivals
from tests.bench.figures import Figure, Growth, find_percentile
from tests.bench.rows_at_once import Sides

LOADS = (0.5, 0.9, 1.5)
"""The arrivals as shares of the capacity."""


@dataclass(frozen=True)
class Stream:
    """The seconds from the arrival of each clip to its transcript, and the rows of each batch."""

    waits_s: Sequence[float]
    rows: Sequence[float]


async def measure_steady(sides: Sides, capacity: float, length_s: float) -> Mapping[float, Stream]:
    """Measure a stream of `length_s` at each load; `capacity` is in clips per second."""
    return {load: await _measure_load(sides, draw_arrivals(load * capacity, length_s)) for load in LOADS}


def describe_steady(streams: Mapping[float, Stream]) -> tuple[list[Figure], list[Growth]]:
    """Return the waits and the rows in a batch at each load."""
    figures = [figure for load, stream in streams.items() for figure in _describe_load(load, stream)]
    waits = {
        label: {load: [find_percentile(stream.waits_s, share)] for load, stream in streams.items()}
        for label, share in (("p50", 0.5), ("p99", 0.99))
    }
    return figures, [Growth("Wait of a clip in a steady stream", "share of capacity", "s", waits)]


async def _measure_load(sides: Sides, arrivals_s: Sequence[float]) -> Stream:
    sides.log.skip()
    count = len(arrivals_s)
    waits_s = await sides.calls.send(sides.choose_clips(count), arrivals_s)
    return Stream(waits_s, [batch.rows for batch in await sides.log.read_batches(rows=count)])


def _describe_load(load: float, stream: Stream) -> list[Figure]:
    name = f"{load:.0%} of capacity, {len(stream.waits_s)} clips"
    return [
        Figure(f"{name}: wait, p50", "s", [find_percentile(stream.waits_s, 0.5)]),
        Figure(f"{name}: wait, p99", "s", [find_percentile(stream.waits_s, 0.99)]),
        Figure(f"{name}: rows in a batch", "", stream.rows),
    ]
