"""One request to an endpoint of the server, as a careful client sends it, and its outcome."""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import httpx
import httpx_sse

from tests.chaos.clips import Clip
from tests.chaos.mix import Endpoint

URLS = {
    Endpoint.JOBS: "/v1/jobs",
    Endpoint.SYNC: "/v1/audio/transcriptions",
    Endpoint.STREAM: "/v1/audio/transcriptions/stream",
    Endpoint.DELTAS: "/v1/audio/transcriptions",
}
_FIELDS = {Endpoint.DELTAS: {"stream": "true"}}


@dataclass(frozen=True)
class Reply:
    """The outcome of one request.

    A request with a `refusal` must be repeated. `text` is the transcript, if the endpoint returned one. A
    stream that `broke` has named its job but gave no transcript; `error_code` may name the cause. `joined`
    are the deltas of `stream=true`: the transcript again, or its beginning.
    """

    job_id: str | None = None
    text: str | None = None
    joined: str | None = None
    refusal: str = ""
    broke: str = ""
    error_code: str = ""
    is_replay: bool = False


async def ask(
    http: httpx.AsyncClient, endpoint: Endpoint, clip: Clip, key: str, *, disconnects_early: bool = False
) -> Reply:
    """Send one request. A client that `disconnects_early` closes a stream once it knows the job.

    It closes a stream of deltas only after the first delta.
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
        return await _read_reply(response, endpoint, disconnects_early=disconnects_early)
    finally:
        await response.aclose()


async def _read_reply(response: httpx.Response, endpoint: Endpoint, *, disconnects_early: bool) -> Reply:
    named = response.headers.get("X-Job-Id")
    if response.status_code != (httpx.codes.ACCEPTED if endpoint is Endpoint.JOBS else httpx.codes.OK):
        return Reply(named, refusal=await _describe_refusal(response))
    is_replay = "Idempotent-Replayed" in response.headers
    if endpoint.is_streamed:
        stream = _Texts() if endpoint is Endpoint.STREAM else _Deltas(named)
        return await stream.read(response, is_replay=is_replay, disconnects_early=disconnects_early)
    content = response.json()
    text = content["text"] if endpoint is Endpoint.SYNC else None
    return Reply(content["id"] if endpoint is Endpoint.JOBS else named, text, is_replay=is_replay)


async def _describe_refusal(response: httpx.Response) -> str:
    try:
        return f"{response.status_code} {json.loads(await response.aread())['error']['code']}"
    except httpx.TransportError as problem:
        return f"{response.status_code}, cut ({type(problem).__name__})"
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} without a code"


class _Stream(ABC):
    """A reader of one stream until it is complete or breaks, or until its client disconnects."""

    def __init__(self, job_id: str | None = None) -> None:
        self.job_id = job_id
        self.text: str | None = None
        self.joined: str | None = None
        self._is_done = False
        self._broke = "ended before it was done"
        self._error_code = ""

    async def read(self, response: httpx.Response, *, is_replay: bool, disconnects_early: bool) -> Reply:
        """Read the stream and return the outcome."""
        try:
            async for event in httpx_sse.EventSource(response).aiter_sse():
                self._on_event(event)
                if disconnects_early and self._may_disconnect():
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

    def _on_event(self, event: httpx_sse.ServerSentEvent) -> None:
        if event.data == "[DONE]":
            self._is_done = self.text is not None
            return
        content = json.loads(event.data) if event.data else {}
        if "error" in content:
            self._error_code = str(content["error"]["code"])
            self._broke = f"ended with {self._error_code}"
        else:
            self._read_event(event.event, content)

    @abstractmethod
    def _read_event(self, name: str, content: dict[str, Any]) -> None:
        """Read one event that is not an error."""

    @abstractmethod
    def _may_disconnect(self) -> bool:
        """Return whether a client that disconnects early may do so now."""


class _Texts(_Stream):
    """A stream whose events hold all text so far; the first event names its job."""

    def _read_event(self, name: str, content: dict[str, Any]) -> None:
        if name == "job":
            self.job_id = str(content["id"])
        elif content.get("is_final"):
            self.text = str(content["text"])
        self._is_done |= bool(content.get("done")) and self.text is not None

    def _may_disconnect(self) -> bool:
        return self.job_id is not None


class _Deltas(_Stream):
    """A stream of deltas with the whole text at the end; a header names its job."""

    def _read_event(self, name: str, content: dict[str, Any]) -> None:
        match content.get("type"):
            case "transcript.text.delta":
                self.joined = (self.joined or "") + str(content["delta"])
            case "transcript.text.done":
                self.joined, self.text = self.joined or "", str(content["text"])

    def _may_disconnect(self) -> bool:
        return self.joined is not None
