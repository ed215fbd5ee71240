"""Listeners that follow the events of jobs through all faults, going on behind the last they have read."""

import asyncio
import json
from dataclasses import dataclass, field

import httpx
import httpx_sse

from tests.chaos.ledger import Ledger

FOLLOWED_AT_ONCE = 8
FINAL = frozenset({"succeeded", "failed", "cancelled"})


@dataclass
class Trace:
    """What one listener has heard: ids and names in their order, and the text of the segments."""

    job_id: str
    ids: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    resumed: int = 0
    is_closed: bool = False  # a last visit, after the final event, was answered with 204

    @property
    def has_final(self) -> bool:
        """Whether a final event was heard."""
        return not FINAL.isdisjoint(self.names)

    def note(self, event: httpx_sse.ServerSentEvent) -> None:
        """Hear one event; a heartbeat, which has no content, is none."""
        if not event.data:
            return
        self.ids.append(event.id)
        self.names.append(event.event)
        if event.event == "segment":
            self.texts.append(str(json.loads(event.data)["text"]))


class Listeners:
    """Follow as many jobs as they can at a time, also those whose clients do not know their ids yet."""

    def __init__(self, http: httpx.AsyncClient, ledger: Ledger) -> None:
        self._http = http
        self._ledger = ledger
        self.traces: dict[str, Trace] = {}

    async def run(self) -> None:
        """Follow jobs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(FOLLOWED_AT_ONCE):
                tasks.create_task(self._follow_one_after_the_other())

    async def _follow_one_after_the_other(self) -> None:
        while True:
            present = (*self._ledger.on_server, *self._ledger.unfinished)
            job_id = next((one for one in present if one not in self.traces), None)
            if job_id is None:
                await asyncio.sleep(0.05)
                continue
            self.traces[job_id] = trace = Trace(job_id)
            await follow_to_end(self._http, trace)


async def follow_to_end(http: httpx.AsyncClient, trace: Trace) -> None:
    """Follow a job, coming back as often as it takes, until its final event was heard and confirmed."""
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
