"""The overhead of a synchronous call, and its stages."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from tests.bench.calls import Call, SyncClient, encode_form
from tests.bench.clips import make_noise, write_wav
from tests.bench.command_trace import STAGES, Command, CommandTrace, share_out
from tests.bench.components import Components
from tests.bench.figures import Count, Findings, Goal, Series, Statistic, find_percentile
from tests.bench.server import BenchServer, serve
from tests.bench.settings import BenchSettings
from worker.engines.scripted.engine import expected_words

CLIP_S = 2
WARM_UP_CALLS = 20
OVERHEAD_GOAL = Goal(Statistic.P50, 15.0)

_NOTES = (
    "One client on one kept connection sends a WAV file of {clip_s} s to `POST "
    "/v1/audio/transcriptions`, one call after the other, with the model loaded; the scripted engine takes "
    "no time for its words. Each call is timed from before its first byte is sent until its answer is read. "
    "{engine_ms:.3f} ms are subtracted: the median time of the engine alone for this clip. All "
    "else counts as overhead, the decoding of the audio and the client included.\n\n"
    "The stages come from the same number of further calls, made under Redis's MONITOR, so their medians do "
    "not add up to that of the calls above. Below them are the times of single pieces, used in the same way "
    "in a separate process."
)


@dataclass(frozen=True)
class _Timed:
    """Plain calls, calls under MONITOR with its commands, and calls of a missing path.

    `cpu_ms` is the CPU time of each part for one plain call.
    """

    calls: Sequence[Call]
    traced: Sequence[Call]
    commands: Sequence[Command]
    empty: Sequence[Call]
    cpu_ms: Mapping[str, float]


async def measure_overhead(settings: BenchSettings, folder: Path) -> Findings:
    """Time calls, with and without their stages, then the pieces on their own."""
    samples = make_noise(CLIP_S)
    async with serve(folder) as server:
        await server.start_worker()
        timed = await asyncio.to_thread(_call, server, write_wav(samples), settings.calls)
    components = Components(folder / "components", samples)
    pieces = await asyncio.to_thread(components.measure, settings.calls)
    engine_ms = find_percentile(await asyncio.to_thread(components.measure_engine, settings.calls), 0.5)
    text = " ".join(expected_words(samples.astype(np.float32) / np.float32(1 << 15)))
    wrong = sum(json.loads(call.body)["text"] != text for call in (*timed.calls, *timed.traced))
    overheads = [call.took_ms - engine_ms for call in timed.calls]
    stages = share_out(timed.traced, timed.commands)
    series = [
        Series("overhead of a synchronous call, ms", overheads, OVERHEAD_GOAL),
        Series("whole calls with MONITOR, ms", [call.took_ms for call in timed.traced]),
        *(Series(f"– {name}", stages[name]) for name in STAGES),
        Series("alone: an HTTP call that gets 404", [call.took_ms for call in timed.empty]),
        *(Series(f"alone: {name}", values) for name, values in pieces.items()),
    ]
    notes = _NOTES.format(clip_s=CLIP_S, engine_ms=engine_ms)
    counts = [
        Count("wrong transcripts", str(wrong), "0"),
        *(Count(f"CPU of {name} for a call, ms", f"{ms:.1f}") for name, ms in timed.cpu_ms.items()),
    ]
    return Findings("Synchronous calls", notes, series, counts)


def _call(server: BenchServer, file: bytes, times: int) -> _Timed:
    form = encode_form(file, {"response_format": "json"})
    client = SyncClient(server.port)
    try:
        for _ in range(WARM_UP_CALLS):
            client.transcribe(form)
        before = _read_cpu_times(server)
        calls = [client.transcribe(form) for _ in range(times)]
        cpu_ms = {
            name: (spent_s - before[name]) * 1000 / times for name, spent_s in _read_cpu_times(server).items()
        }
        with CommandTrace(server.redis_socket) as trace:
            traced = [client.transcribe(form) for _ in range(times)]
        empty = [client.request_nothing() for _ in range(times)]
        return _Timed(calls, traced, trace.read_commands(), empty, cpu_ms)
    finally:
        client.close()


def _read_cpu_times(server: BenchServer) -> Mapping[str, float]:
    """Return the CPU time of each part so far, in seconds, without its sandboxed decoders."""
    processes = {name: psutil.Process(server.pid_of(name)) for name in ("api", "worker", "redis")}
    for model in server.find_model_processes():
        processes["the model process"] = model
    spent = {name: process.cpu_times() for name, process in processes.items()}
    return {name: times.user + times.system for name, times in spent.items()}
