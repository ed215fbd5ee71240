"""The doors of the server, as careful clients use them: one request by each, and what came of it."""

import json
import random
from dataclasses import dataclass

import httpx
import httpx_sse

from scripts.chaos.clips import Clip
from shared.jobs import Door

SHARES = {Door.JOBS: 0.5, Door.SYNC: 0.25, Door.STREAM: 0.25}

URLS = {
    Door.JOBS: "/v1/jobs",
    Door.SYNC: "/v1/audio/transcriptions",
    Door.STREAM: "/v1/audio/transcriptions/stream",
}
GOOD = {Door.JOBS: httpx.codes.ACCEPTED, Door.SYNC: httpx.codes.OK, Door.STREAM: httpx.codes.OK}


@dataclass(frozen=True)
class Reply:
    """What came of one request.

    `refusal` says why it has to be repeated, `text` is the transcript where the door gave one, and a stream
    that `broke` has said which job it belongs to, but not what its transcript is.
    """

    job_id: str | None = None
    text: str | None = None
    refusal: str = ""
    broke: str = ""
    is_replay: bool = False


def draw_door(seed: int, number: int) -> Door:
    """The door of job `number`; the same for the same seed."""
    draw = random.Random(f"door {seed} {number}")  # noqa: S311 - nothing secret is drawn
    return draw.choices(list(SHARES), list(SHARES.values()))[0]


async def ask(
    http: httpx.AsyncClient, door: Door, clip: Clip, key: str, *, leaves_early: bool = False
) -> Reply:
    """Send one request; a client that `leaves_early` closes a stream when it knows which job it is."""
    request = http.build_request(
        "POST",
        URLS[door],
        files={"file": (clip.name, clip.content)},
        headers={"Idempotency-Key": key},
    )
    try:
        response = await http.send(request, stream=door is Door.STREAM)
    except httpx.TransportError as problem:
        return Reply(refusal=f"no answer ({type(problem).__name__})")
    try:
        return await _read_reply(response, door, leaves_early=leaves_early)
    finally:
        await response.aclose()


async def _read_reply(response: httpx.Response, door: Door, *, leaves_early: bool) -> Reply:
    named = response.headers.get("X-Job-Id")
    if response.status_code != GOOD[door]:
        return Reply(named, refusal=await _describe_refusal(response))
    is_replay = "Idempotent-Replayed" in response.headers
    if door is Door.STREAM:
        return await _Stream(is_replay=is_replay).read(response, leaves_early=leaves_early)
    said = response.json()
    text = said["text"] if door is Door.SYNC else None
    return Reply(said["id"] if door is Door.JOBS else named, text, is_replay=is_replay)


async def _describe_refusal(response: httpx.Response) -> str:
    try:
        return f"{response.status_code} {json.loads(await response.aread())['error']['code']}"
    except httpx.TransportError as problem:
        return f"{response.status_code}, cut ({type(problem).__name__})"
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} without a code"


class _Stream:
    """Reads one stream until it is done, it breaks, or its client leaves."""

    def __init__(self, *, is_replay: bool) -> None:
        self._is_replay = is_replay
        self._job_id: str | None = None
        self._text: str | None = None
        self._is_done = False
        self._broke = "ended before it was done"

    async def read(self, response: httpx.Response, *, leaves_early: bool) -> Reply:
        try:
            async for event in httpx_sse.EventSource(response).aiter_sse():
                self._hear(event)
                if leaves_early and self._job_id is not None:
                    self._broke = ""
                    break
        except (httpx.TransportError, httpx_sse.SSEError) as problem:
            self._broke = f"cut ({type(problem).__name__})"
        if self._job_id is None:
            return Reply(refusal=f"stream {self._broke}")
        if self._is_done:
            return Reply(self._job_id, self._text, is_replay=self._is_replay)
        return Reply(self._job_id, broke=self._broke, is_replay=self._is_replay)

    def _hear(self, event: httpx_sse.ServerSentEvent) -> None:
        said = json.loads(event.data) if event.data else {}
        if event.event == "job":
            self._job_id = str(said["id"])
        elif "error" in said:
            self._broke = f"ended with {said['error']['code']}"
        elif said.get("is_final"):
            self._text = str(said["text"])
        self._is_done |= bool(said.get("done")) and self._text is not None
