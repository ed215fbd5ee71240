"""Submits and watches single jobs."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import httpx

from shared.events import AnyEvent
from shared.record.readings import LOG_START, LoggedEvent
from tests.bench.server import BenchServer
from tests.support.record_readings import read_log

LOOK_EVERY_S = 0.005
GIVE_UP_S = 120.0

Kind = TypeVar("Kind", bound=AnyEvent)


@dataclass(frozen=True)
class Seen:
    """An event and its time in seconds as in `time.time`: Redis uses the clock of this machine."""

    event: AnyEvent
    at_s: float


async def submit(server: BenchServer, file: bytes, **behaviour: object) -> str:
    """Submit a job with a `behaviour` of the scripted engine, and return its id."""
    fields = {"priority": "interactive"} | ({"prompt": json.dumps(behaviour)} if behaviour else {})
    answer = await server.http.post("/v1/jobs", files={"file": ("clip.wav", file)}, data=fields)
    return str(answer.raise_for_status().json()["id"])


async def delete_job(server: BenchServer, job_id: str) -> None:
    """Cancel a job, and delete its record and its audio."""
    if (await server.http.delete(f"/v1/jobs/{job_id}")).status_code == httpx.codes.ACCEPTED:
        await wait_for_state(server, job_id, "cancelled")
    await server.http.delete(f"/v1/jobs/{job_id}")


async def read_events(server: BenchServer, job_id: str) -> list[Seen]:
    """Return all events of a job so far."""
    page = await server.ask(read_log(job_id, after_id=LOG_START))
    return [_see(logged) for logged in page.events] if page else []


async def wait_for_event(server: BenchServer, job_id: str, is_wanted: Callable[[AnyEvent], bool]) -> Seen:
    """Return the first event of a job that is wanted, as soon as it is logged.

    Raises:
        RuntimeError: the job ended without it.
        TimeoutError: it does not come.
    """
    async with asyncio.timeout(GIVE_UP_S):
        while True:
            events = await read_events(server, job_id)
            for seen in events:
                if is_wanted(seen.event):
                    return seen
            if events and events[-1].event.is_final:
                raise RuntimeError(f"job {job_id} ended with {events[-1].event}")
            await asyncio.sleep(LOOK_EVERY_S)


async def wait_for_kind(server: BenchServer, job_id: str, kind: type[AnyEvent]) -> Seen:
    """Return the first event of this class, as `wait_for_event` does."""
    return await wait_for_event(server, job_id, lambda event: isinstance(event, kind))


async def wait_for_state(
    server: BenchServer, job_id: str, state: str, *, every_s: float = LOOK_EVERY_S
) -> float:
    """Return when a client that polls every `every_s` saw this state, in seconds as in `time.time`."""
    async with asyncio.timeout(GIVE_UP_S):
        while True:
            answer = await server.http.get(f"/v1/jobs/{job_id}")
            if answer.status_code == httpx.codes.OK and answer.json()["state"] == state:
                return time.time()
            await asyncio.sleep(every_s)


def _see(logged: LoggedEvent) -> Seen:
    return Seen(logged.event, int(logged.event_id.partition("-")[0]) / 1000)
