"""The time until a running job is cancelled and its engine is free, with and without an engine that stops."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.up.descendants import is_alive
from shared.events import AnyEvent, Loading, Partial, Started, Succeeded
from tests.bench.clips import make_noise, repeat_speech, write_wav
from tests.bench.engine_time import MODELS_FOLDER
from tests.bench.figures import Figure, Findings, Goal
from tests.bench.job_watch import submit, wait_for_event, wait_for_kind, wait_for_state
from tests.bench.server import BenchServer, serve
from tests.bench.settings import BenchSettings
from worker.engines.whisper.weights import find_weights
from worker.settings import WorkerSettings

GOAL = Goal(1.0)
LONG_S, SHORT_S = 60, 1
SENTENCES = 20  # of some four seconds: several windows
INTO_WINDOW_S = 0.7
LOADED = "loaded"

_NOTES = (
    "DELETE of a running job while a short one waits, with the default CANCEL_GRACE_MS ({grace_ms:g}). "
    "Seconds count from before the DELETE is sent: until a client that polls every 5 ms reads `cancelled`, "
    "and until the engine is free, which is when the worker claims the waiting job. An engine that does not "
    "stop is ended with its process; the waiting job then waits for its reload."
)


@dataclass(frozen=True)
class _Cancelled:
    """One cancelled job, all in seconds; `ready_s` is None if the engine stopped on its own."""

    cancelled_s: float
    free_s: float
    ready_s: float | None


@dataclass(frozen=True)
class _Case:
    """An engine, its jobs, and the event that shows that it works on the first one."""

    name: str
    long: bytes
    short: bytes
    behaviour: Mapping[str, object]
    at_work: type[AnyEvent] = Partial
    into_window_s: float = 0.0


async def measure_cancels(settings: BenchSettings, folder: Path) -> Findings:
    """Cancel jobs of an engine that stops, of one that does not, and of Whisper."""
    noise, short = write_wav(make_noise(LONG_S)), write_wav(make_noise(SHORT_S))
    cases = [
        _Case("engine that stops", noise, short, {"speed": 1}),
        _Case("engine that ignores a stop", noise, short, {"speed": 1, "misbehaviour": "ignore_stop"}),
    ]
    times = settings.scale.faults
    figures: list[Figure] = []
    async with serve(folder) as server:
        await server.start_worker()
        for case in cases:
            figures += _describe(case, await _cancel_often(server, case, times))
    figures += await _measure_whisper(folder, times)
    notes = _NOTES.format(grace_ms=WorkerSettings.model_fields["cancel_grace_ms"].default)
    return Findings("A running job is cancelled", notes, figures)


async def _measure_whisper(folder: Path, times: int) -> list[Figure]:
    model = find_weights("", folder.parent / MODELS_FOLDER)
    speech, short = repeat_speech(SENTENCES), repeat_speech(1)
    case = _Case("Whisper base", speech, short, {}, at_work=Started, into_window_s=INTO_WINDOW_S)
    folder = folder.with_name("cancel-whisper")
    async with serve(folder, ENGINE="whisper", WHISPER_MODEL=str(model)) as server:
        await server.start_worker()
        await wait_for_kind(server, await submit(server, short), Succeeded)
        return _describe(case, await _cancel_often(server, case, times))


async def _cancel_often(server: BenchServer, case: _Case, times: int) -> list[_Cancelled]:
    return [await _cancel_once(server, case) for _ in range(times)]


async def _cancel_once(server: BenchServer, case: _Case) -> _Cancelled:
    job_id = await submit(server, case.long, **case.behaviour)
    await wait_for_kind(server, job_id, case.at_work)
    await asyncio.sleep(case.into_window_s)
    waiting_id = await submit(server, case.short)
    models = server.find_model_processes()
    began_s = time.time()
    (await server.http.delete(f"/v1/jobs/{job_id}")).raise_for_status()
    cancelled_s = await wait_for_state(server, job_id, "cancelled") - began_s
    free_s = (await wait_for_kind(server, waiting_id, Started)).at_s - began_s
    ready_s = None
    if not any(map(is_alive, models)):
        loaded = await wait_for_event(server, waiting_id, _is_loaded)
        ready_s = loaded.at_s - began_s
    await wait_for_kind(server, waiting_id, Succeeded)
    return _Cancelled(cancelled_s, free_s, ready_s)


def _is_loaded(event: AnyEvent) -> bool:
    return isinstance(event, Loading) and event.phase == LOADED


def _describe(case: _Case, cancelled: Sequence[_Cancelled]) -> list[Figure]:
    ready = [one.ready_s for one in cancelled if one.ready_s is not None]
    figures = [
        Figure(f"{case.name}: job cancelled after", "s", [one.cancelled_s for one in cancelled], goal=GOAL),
        Figure(f"{case.name}: engine free after", "s", [one.free_s for one in cancelled], goal=GOAL),
    ]
    if ready:
        figures.append(Figure(f"{case.name}: the next job has a model after", "s", ready))
    return figures
