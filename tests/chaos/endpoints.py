"""The endpoints of the server, as careful clients use them: one request by each, and what came of it."""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import httpx
import httpx_sse

from tests.chaos.clips import Clip
from tests.chaos.shares import Endpoint

URLS = {
    Endpoint.JOBS: "/v1/jobs",
    Endpoint.SYNC: "/v1/audio/transcriptions",
    Endpoint.STREAM: "/v1/audio/transcriptions/stream",
    Endpoint.DELTAS: "/v1/audio/transcriptions",
}
_FIELDS = {Endpoint.DELTAS: {"stream": "true"}}


@dataclass(frozen=True)
class Reply:
    """What came of one request.

    `refusal` says why it has to be repeated, `text` is the transcript where the endpoint gave one, and a
    stream
    that `broke` has said which job it belongs to, but not what its transcript is; it may have said why, by
    `error_code`. `joined` are the deltas of `stream=true`: the transcript once more, or how it begins.
    """

    job_id: str | None = None
    text: str | None = None
    joined: str | None = None
    refusal: str = ""
    broke: str = ""
    error_code: str = ""
    is_replay: bool = False


async def ask(
    http: httpx.AsyncClient, endpoint: Endpoint, clip: Clip, key: str, *, leaves_early: bool = False
) -> Reply:
    """Send one request; a client that `leaves_early` closes a stream when it knows which job it is.

    Of a stream of deltas it has then heard one, too.
    """
    request = http.build_request(
        "POST",
        URLS[endpoint],
        files={"file": (clip.name, clip.content)},
        data={**_FIELDS.get(endpoint, {}), **clip.fields},
        headers={"Idempotency-Key": key},
    )
    try:
        response = await http.send(request, stream=endpoint.is_streamed)
    except httpx.TransportError as problem:
        return Reply(refusal=f"no answer ({type(problem).__name__})")
    try:
        return await _read_reply(response, endpoint, leaves_early=leaves_early)
    finally:
        await response.aclose()


async def _read_reply(response: httpx.Response, endpoint: Endpoint, *, leaves_early: bool) -> Reply:
    named = response.headers.get("X-Job-Id")
    if response.status_code != (httpx.codes.ACCEPTED if endpoint is Endpoint.JOBS else httpx.codes.OK):
        return Reply(named, refusal=await _describe_refusal(response))
    is_replay = "Idempotent-Replayed" in response.headers
    if endpoint.is_streamed:
        stream = _Texts() if endpoint is Endpoint.STREAM else _Deltas(named)
        return await stream.read(response, is_replay=is_replay, leaves_early=leaves_early)
    said = response.json()
    text = said["text"] if endpoint is Endpoint.SYNC else None
    return Reply(said["id"] if endpoint is Endpoint.JOBS else named, text, is_replay=is_replay)


async def _describe_refusal(response: httpx.Response) -> str:
    try:
        return f"{response.status_code} {json.loads(await response.aread())['error']['code']}"
    except httpx.TransportError as problem:
        return f"{response.status_code}, cut ({type(problem).__name__})"
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} without a code"


class _Stream(ABC):
    """Reads one stream until it is done, it breaks, or its client leaves."""

    def __init__(self, job_id: str | None = None) -> None:
        self.job_id = job_id
        self.text: str | None = None
        self.joined: str | None = None
        self._is_done = False
        self._broke = "ended before it was done"
        self._error_code = ""

    async def read(self, response: httpx.Response, *, is_replay: bool, leaves_early: bool) -> Reply:
        """What came of it."""
        try:
            async for event in httpx_sse.EventSource(response).aiter_sse():
                self._hear(event)
                if leaves_early and self._may_be_left():
                    self._broke = ""
                    break
        except (httpx.TransportError, httpx_sse.SSEError) as problem:
            self._broke = f"cut ({type(problem).__name__})"
        if self.job_id is None:
            return Reply(refusal=f"stream {self._broke}")
        if self._is_done:
            return Reply(self.job_id, self.text, self.joined, is_replay=is_replay)
        return Reply(
            self.job_id,
            joined=self.joined,
            broke=self._broke,
            error_code=self._error_code,
            is_replay=is_replay,
        )

    def _hear(self, event: httpx_sse.ServerSentEvent) -> None:
        if event.data == "[DONE]":
            self._is_done = self.text is not None
            return
        said = json.loads(event.data) if event.data else {}
        if "error" in said:
            self._error_code = str(said["error"]["code"])
            self._broke = f"ended with {self._error_code}"
        else:
            self._take(event.event, said)

    @abstractmethod
    def _take(self, name: str, said: dict[str, Any]) -> None:
        """Hear one event that is no error."""

    @abstractmethod
    def _may_be_left(self) -> bool:
        """Whether enough was heard for a client that leaves early."""


class _Texts(_Stream):
    """The stream of all text so far, again and again, which names its job first."""

    def _take(self, name: str, said: dict[str, Any]) -> None:
        if name == "job":
            self.job_id = str(said["id"])
        elif said.get("is_final"):
            self.text = str(said["text"])
        self._is_done |= bool(said.get("done")) and self.text is not None

    def _may_be_left(self) -> bool:
        return self.job_id is not None


class _Deltas(_Stream):
    """The stream of what is new in the text, and of all of it at the end; a header names its job."""

    def _take(self, name: str, said: dict[str, Any]) -> None:
        match said.get("type"):
            case "transcript.text.delta":
                self.joined = (self.joined or "") + str(said["delta"])
            case "transcript.text.done":
                self.joined, self.text = self.joined or "", str(said["text"])

    def _may_be_left(self) -> bool:
        return self.joined is not None
