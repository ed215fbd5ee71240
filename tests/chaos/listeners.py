"""Listeners that follow the events of jobs through all faults, and resume after the last event they read."""

import asyncio
import json
from dataclasses import dataclass, field

import httpx
import httpx_sse

from tests.chaos.bookkeeping import Books

FOLLOWED_AT_ONCE = 8
FINAL = frozenset({"succeeded", "failed", "cancelled"})


@dataclass
class Trace:
    """The events that one listener has read: ids and names in order, and the text of the segments."""

    job_id: str
    ids: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    resumed: int = 0
    is_closed: bool = False  # a request after the final event was answered with 204

    @property
    def has_final(self) -> bool:
        """Return whether a final event was read."""
        return not FINAL.isdisjoint(self.names)

    def note(self, event: httpx_sse.ServerSentEvent) -> None:
        """Add one event; a heartbeat, which has no data, does not count."""
        if not event.data:
            return
        self.ids.append(event.id)
        self.names.append(event.event)
        if event.event == "segment":
            self.texts.append(str(json.loads(event.data)["text"]))


class Listeners:
    """The listeners of a run; they also follow jobs whose clients do not know the id yet."""

    def __init__(self, http: httpx.AsyncClient, books: Books) -> None:
        self._http = http
        self._books = books
        self.traces: dict[str, Trace] = {}

    async def run(self) -> None:
        """Follow jobs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(FOLLOWED_AT_ONCE):
                tasks.create_task(self._follow_one_after_the_other())

    async def _follow_one_after_the_other(self) -> None:
        while True:
            present = (*self._books.on_server, *self._books.unfinished)
            job_id = next((one for one in present if one not in self.traces), None)
            if job_id is None:
                await asyncio.sleep(0.05)
                continue
            self.traces[job_id] = trace = Trace(job_id)
            await follow_to_end(self._http, trace)


async def follow_to_end(http: httpx.AsyncClient, trace: Trace) -> None:
    """Follow a job, resuming as often as needed, until its final event was read and confirmed."""
    while not trace.is_closed:
        await _visit(http, trace)


async def _visit(http: httpx.AsyncClient, trace: Trace) -> None:
    last = {"Last-Event-ID": trace.ids[-1]} if trace.ids else {}
    url = f"/v1/jobs/{trace.job_id}/events"
    try:
        async with httpx_sse.aconnect_sse(http, "GET", url, headers=last) as source:
            if source.response.status_code == httpx.codes.NO_CONTENT:
                trace.is_closed = True
            elif source.response.status_code == httpx.codes.OK:
                async for event in source.aiter_sse():
                    trace.note(event)
    except (httpx.TransportError, httpx_sse.SSEError):
        await asyncio.sleep(0.2)
    if not trace.is_closed:
        trace.resumed += not trace.has_final
        await asyncio.sleep(0.05)
