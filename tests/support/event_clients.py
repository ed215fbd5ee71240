"""Clients that follow, poll and submit jobs over a network that fails, as a careful client would."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import httpx_sse
import msgspec

from api.streams.partial_text import PartialText
from shared.events import AnyEvent, Partial, Requeued, SegmentDone
from shared.transcripts import Segment
from tests.chaos.listeners import FINAL, Trace

AGAIN_AFTER_S = 0.05
TURNED_AWAY = httpx.codes.SERVICE_UNAVAILABLE

Resume = Callable[[str], Mapping[str, Mapping[str, str]]]
"""What is added to a request in order to go on behind the event of this id."""


def by_header(event_id: str) -> Mapping[str, Mapping[str, str]]:
    """As EventSource does it."""
    return {"headers": {"Last-Event-ID": event_id}}


def by_query(event_id: str) -> Mapping[str, Mapping[str, str]]:
    """For clients that cannot set headers."""
    return {"params": {"last_event_id": event_id}}


@dataclass
class Heard(Trace):
    """What one client was told: besides the trace, all data, and the text that it shows after each event."""

    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    _text: PartialText = field(default_factory=lambda: PartialText(None))

    def note(self, event: httpx_sse.ServerSentEvent) -> None:
        """Hear one event; a heartbeat, which has no content, is none."""
        super().note(event)
        if event.data:
            told = json.loads(event.data)
            self.told[event.id] = told
            self._text.take(_read_event(event.event, told))
            self.shown.append(self._text.text)

    def tell_all_but(self, name: str) -> dict[str, dict[str, Any]]:
        """What was told of each event, by its id, but for those of this name."""
        pairs = zip(self.ids, self.names, strict=True)
        return {event_id: self.told[event_id] for event_id, one in pairs if one != name}

    def contradicts(self, other: "Heard") -> bool:
        """Whether another client of the same job was told something else of the same event."""
        both = self.told.keys() & other.told.keys()
        return self.job_id == other.job_id and any(self.told[one] != other.told[one] for one in both)


def _read_event(name: str, told: dict[str, Any]) -> list[AnyEvent]:
    """The event, if it says something about the text."""
    match name:
        case "partial":
            return [msgspec.convert(told, Partial)]
        case "segment":
            segment = Segment(told["start"], told["end"], told["text"], told["language"])
            return [SegmentDone(segment)]
        case "requeued":
            return [msgspec.convert(told, Requeued)]
    return []


class Follower:
    """Follows a job, however often the connection is lost, until it is told not to come back."""

    comes_back_from: frozenset[int] = frozenset({TURNED_AWAY})

    def __init__(self, http: httpx.AsyncClient, job_id: str, resume: Resume) -> None:
        self._http = http
        self._resume = resume
        self._again_after_s = AGAIN_AFTER_S
        self.heard = Heard(job_id)

    async def follow(self) -> Heard:
        """Come back until the answer is 204."""
        while not self.heard.is_closed:
            with contextlib.suppress(httpx.TransportError):
                await self._visit()
            await asyncio.sleep(self._again_after_s)
        return self.heard

    async def _visit(self) -> None:
        heard = self.heard
        last = self._resume(heard.ids[-1]) if heard.ids else {}
        url = f"/v1/jobs/{heard.job_id}/events"
        async with httpx_sse.aconnect_sse(self._http, "GET", url, **last) as source:
            status = source.response.status_code
            assert status in {httpx.codes.OK, httpx.codes.NO_CONTENT, *self.comes_back_from}, status
            heard.is_closed = status == httpx.codes.NO_CONTENT
            if status == httpx.codes.OK:
                async for event in source.aiter_sse():
                    self._hear(event)

    def _hear(self, event: httpx_sse.ServerSentEvent) -> None:
        self.heard.note(event)


class EventSource(Follower):
    """Follows as a browser does: it gives up at any answer but 200, and `retry` says when to come back.

    It waits for `haste` times as long as it is told.
    """

    comes_back_from: frozenset[int] = frozenset()

    def __init__(self, http: httpx.AsyncClient, job_id: str, *, haste: float = 1.0) -> None:
        super().__init__(http, job_id, by_header)
        self._haste = haste
        self.retry_ms: int | None = None

    def _hear(self, event: httpx_sse.ServerSentEvent) -> None:
        if event.retry is not None:
            self.retry_ms = event.retry
            self._again_after_s = event.retry / 1_000 * self._haste
        super()._hear(event)


class Poller:
    """Asks for the job until it is final."""

    def __init__(self, http: httpx.AsyncClient, job_id: str) -> None:
        self._http = http
        self._job_id = job_id

    async def poll(self) -> dict[str, Any]:
        """The job as it is in the end."""
        while True:
            answer = await ask_until_answered(self._http, "GET", f"/v1/jobs/{self._job_id}")
            job: dict[str, Any] = answer.json()
            assert answer.status_code == httpx.codes.OK, job
            if job["state"] in FINAL:
                return job
            assert not job["transcript"]
            await asyncio.sleep(AGAIN_AFTER_S)


async def ask_until_answered(
    http: httpx.AsyncClient, method: str, url: str, **request: Any
) -> httpx.Response:
    """The answer to a request that is sent again until there is one, other than 503."""
    while True:
        try:
            answer = await http.request(method, url, **request)
        except httpx.TransportError:
            pass
        else:
            if answer.status_code != TURNED_AWAY:
                return answer
        await asyncio.sleep(AGAIN_AFTER_S)


async def submit_until_accepted(http: httpx.AsyncClient, audio: bytes, *, key: str) -> str:
    """The id of the job that the key stands for in the end."""
    answer = await ask_until_answered(
        http, "POST", "/v1/jobs", files={"file": audio}, headers={"Idempotency-Key": key}
    )
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    return str(answer.json()["id"])
