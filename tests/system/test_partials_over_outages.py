"""Joined partials have no gap after an outage of Redis, and the stream continues."""

import asyncio
import json
from collections.abc import Callable

import httpx
import httpx_sse
import pytest

from tests.support.audio import make_tones, spoken_text, write_wav
from tests.support.event_clients import Follower, by_header
from tests.support.patience import wait_until
from tests.support.server import RealServer

MakeServer = Callable[..., RealServer]

SPOKEN_S = 16
SAMPLES = make_tones(SPOKEN_S)
AUDIO, TEXT = write_wav(SAMPLES), spoken_text(SAMPLES)
WITHIN_S = 60.0


@pytest.fixture
def server(make_server: MakeServer) -> RealServer:
    """Provide a server whose job is one window, so that a gap in its text would stay until the end."""
    return make_server(WINDOW_S=str(SPOKEN_S), SCRIPTED_SPEED="4").start()


class Deltas:
    """A client of `stream=true`, with the events that it received in order."""

    def __init__(self) -> None:
        self.job_id = ""
        self.deltas: list[str] = []
        self.others: list[dict[str, object]] = []

    async def read(self, http: httpx.AsyncClient) -> None:
        """Read until the end."""
        request = {"files": {"file": AUDIO}, "data": {"stream": "true"}}
        async with httpx_sse.aconnect_sse(http, "POST", "/v1/audio/transcriptions", **request) as source:
            self.job_id = source.response.headers["X-Job-Id"]
            async for event in source.aiter_sse():
                self._hear(event.data)

    def _hear(self, data: str) -> None:
        said = {} if data in {"", "[DONE]"} else json.loads(data)
        if said.get("type") == "transcript.text.delta":
            self.deltas.append(said["delta"])
        elif said:
            self.others.append(said)


async def test_a_restart_of_redis_leaves_no_gap_in_the_streamed_text(server: RealServer) -> None:
    async with (
        httpx.AsyncClient(base_url=server.base_url, timeout=WITHIN_S) as http,
        asyncio.TaskGroup() as tasks,
    ):
        client = Deltas()
        tasks.create_task(client.read(http))
        await wait_until(lambda: len(client.deltas) > 1, within_s=WITHIN_S)
        follower = Follower(http, client.job_id, by_header)
        tasks.create_task(follower.follow())
        await wait_until(lambda: follower.heard.shown, within_s=WITHIN_S)
        await asyncio.to_thread(server.redis.kill)
        # When there is some text that nobody could be told
        await wait_until(lambda: server.log_text().count("event_not_logged") > 1, within_s=WITHIN_S)
        await asyncio.to_thread(server.redis.start)
    (done,) = client.others
    assert done["type"] == "transcript.text.done"
    assert done["text"] == "".join(client.deltas) == TEXT
    assert [shown for shown in follower.heard.shown if not TEXT.startswith(shown)] == []
