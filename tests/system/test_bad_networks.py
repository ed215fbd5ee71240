"""Over a network that cuts, resets and falls silent, clients that come back hear everything, and once.

Partials of a finished window are no part of the log any more, so a client that was away may have missed them.
All else is exact: ids only grow, every event of the log is heard once, the final one is the last, what is
shown of the text is always how the transcript begins, and in the end all of it.
"""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from itertools import count
from random import Random
from typing import Any

import httpx
import pytest

from api.streams.sse import describe_event, encode_frame
from shared.record.connection import connect
from shared.record.readings import LOG_START
from tests.chaos.checks import find_gaps
from tests.chaos.records import Record, RecordReader
from tests.support.audio import make_tones, spoken_text, write_wav
from tests.support.bad_network import BadNetwork, Fate
from tests.support.event_clients import (
    EventSource,
    Follower,
    Heard,
    Poller,
    by_header,
    by_query,
    submit_until_accepted,
)
from tests.support.patience import wait_until
from tests.support.record_readings import read_log
from tests.support.server import RealServer

MakeServer = Callable[..., RealServer]

SPOKEN_S = 6
AUDIO = write_wav(make_tones(SPOKEN_S))
HEARTBEAT_S = 0.2
SILENCE_S = 1.0
"""A connection without so much as a heartbeat for this long is given up by its client."""

HASTE = 0.05
"""Browsers are told to wait for a second or two before they come back; these ones have less time."""

WITHIN_S = 100.0


@pytest.fixture
def server(make_server: MakeServer) -> RealServer:
    """A server whose jobs take a while and have three windows, so that faults hit in the middle of them."""
    return make_server(WINDOW_S="2", SCRIPTED_SPEED="8", LEASE_S="2", HEARTBEAT_S=str(HEARTBEAT_S)).start()


def submit(server: RealServer, **fields: str) -> str:
    """Submit a job past the network; answers its id."""
    return str(server.client.post("/v1/jobs", files={"file": AUDIO}, data=fields).json()["id"])


def kill_redis(server: RealServer) -> None:
    server.redis.kill()
    server.redis.start()


def kill_api(server: RealServer) -> None:
    server.end(server.api, signal.SIGKILL)
    server.api = server.start_api()
    server.wait_until_ready()


def kill_worker(server: RealServer) -> None:
    server.end(server.worker, signal.SIGKILL)
    server.worker = server.start_worker()


class Scene:
    """Jobs, and all who follow them over the same network."""

    def __init__(self, http: httpx.AsyncClient, tasks: asyncio.TaskGroup) -> None:
        self._http = http
        self._tasks = tasks
        self._numbers = count()
        self.texts: dict[str, str] = {}
        self.heard: list[Heard] = []
        self.polls: dict[str, asyncio.Task[dict[str, Any]]] = {}

    async def submit(self, jobs: int) -> list[str]:
        """Submit several jobs at once, each with a poller, and followed from its start."""
        numbers = [next(self._numbers) for _ in range(jobs)]
        job_ids = await asyncio.gather(*(self._submit(number) for number in numbers))
        for job_id in job_ids:
            self.polls[job_id] = self._tasks.create_task(Poller(self._http, job_id).poll())
        self.attach(job_ids)
        return list(job_ids)

    def attach(self, job_ids: Sequence[str]) -> None:
        """One more follower of each kind for each of the jobs."""
        for job_id in job_ids:
            for follower in (
                Follower(self._http, job_id, by_header),
                Follower(self._http, job_id, by_query),
                EventSource(self._http, job_id, haste=HASTE),
            ):
                self.heard.append(follower.heard)
                self._tasks.create_task(follower.follow())

    async def wait_for(self, name: str, job_ids: Sequence[str], *, events: int) -> None:
        """Return when so many events of this name, which stay in the log, were heard of these jobs."""

        def have_been_heard() -> bool:
            return len({each for heard in self.heard for each in _find(heard, name, job_ids)}) >= events

        await wait_until(have_been_heard, within_s=WITHIN_S)

    async def wait_until_all_heard(self, name: str, job_ids: Sequence[str]) -> None:
        """Return when everybody who follows one of these jobs has heard an event of this name."""
        followers = [heard for heard in self.heard if heard.job_id in job_ids]
        await wait_until(lambda: all(name in heard.names for heard in followers), within_s=WITHIN_S)

    def heard_names(self, job_ids: Sequence[str]) -> set[str]:
        """The names of all events that anybody has heard of these jobs."""
        return {name for heard in self.heard if heard.job_id in job_ids for name in heard.names}

    async def _submit(self, number: int) -> str:
        samples = make_tones(SPOKEN_S, seed=number)
        job_id = await submit_until_accepted(self._http, write_wav(samples), key=f"clip-{number}")
        self.texts[job_id] = spoken_text(samples)
        return job_id


def _find(heard: Heard, name: str, job_ids: Sequence[str]) -> list[tuple[str, str]]:
    if heard.job_id not in job_ids:
        return []
    pairs = zip(heard.ids, heard.names, strict=True)
    return [(heard.job_id, event_id) for event_id, one in pairs if one == name]


@asynccontextmanager
async def play(server: RealServer, *, seed: int) -> AsyncIterator[Scene]:
    """A scene over a network that fails by this seed; it is over when everybody has heard the end."""
    network = BadNetwork(server.port, seed=seed)
    patience = httpx.Timeout(SILENCE_S, pool=None)
    try:
        async with (
            asyncio.timeout(WITHIN_S),
            httpx.AsyncClient(base_url=await network.start(), timeout=patience) as http,
            asyncio.TaskGroup() as tasks,
        ):
            scene = Scene(http, tasks)
            yield scene
    finally:
        await network.stop()
    assert set(network.met) == set(Fate)


async def check(scene: Scene, server: RealServer, *, besides: AbstractSet[str] = frozenset()) -> None:
    """Everybody was told the truth, all of it, and once."""
    reader = RecordReader(server.redis.url)
    assert await reader.list_jobs() == scene.texts.keys() | besides
    records = await reader.read_records(scene.texts)
    await reader.close()
    logs = {job_id: read_whole_log(server, job_id) for job_id in scene.texts}
    for heard in scene.heard:
        check_listener(heard, records[heard.job_id], scene.texts[heard.job_id])
        assert heard.tell_all_but("partial") == logs[heard.job_id]
        assert not any(heard.contradicts(other) for other in scene.heard)
    for job_id, poll in scene.polls.items():
        job = poll.result()
        assert job["state"] == "succeeded"
        assert job["transcript"]["text"] == scene.texts[job_id]


def check_listener(heard: Heard, record: Record, text: str) -> None:
    """What a listener heard is in order, whole, and never contradicts the transcript."""
    assert find_gaps(heard, record, text) == []
    assert [shown for shown in heard.shown if not text.startswith(shown)] == []
    assert heard.shown[-1] == text


def read_whole_log(server: RealServer, job_id: str) -> dict[str, Any]:
    """The log of a job past the api: what clients are to be told of each event, by its id."""
    page = connect(server.redis.url).run(read_log(job_id, after_id=LOG_START))
    assert page is not None
    return {
        logged.event_id: json.loads(str(encode_frame(describe_event(logged.event)).data))
        for logged in page.events
    }


async def test_clients_that_come_back_hear_all_of_it_once_over_kills_of_api_and_redis(
    server: RealServer,
) -> None:
    ahead = submit(server, prompt='{"speed": 0.05}')
    async with play(server, seed=1) as scene:
        first = await scene.submit(2)
        await scene.wait_until_all_heard("queued", first)
        assert scene.heard_names(first) == {"queued"}
        assert server.client.delete(f"/v1/jobs/{ahead}").is_success
        await scene.wait_for("segment", first, events=1)
        await asyncio.to_thread(kill_redis, server)
        scene.attach(first[:1])
        await scene.wait_for("segment", first, events=2)
        await asyncio.to_thread(kill_api, server)
        second = await scene.submit(1)
        await scene.wait_for("segment", second, events=1)
        await asyncio.to_thread(kill_redis, server)
        await asyncio.gather(*scene.polls.values())
        scene.attach(second)
    await check(scene, server, besides={ahead})


@pytest.mark.full
async def test_a_browser_that_comes_while_redis_is_away_has_to_wait_and_is_not_turned_away(
    server: RealServer,
) -> None:
    job_id = submit(server)
    server.redis.kill()
    async with httpx.AsyncClient(base_url=server.base_url, timeout=WITHIN_S) as http:
        browser = EventSource(http, job_id)
        following = asyncio.create_task(browser.follow())
        await wait_until(lambda: following.done() or "reading_again" in server.log_text())
        server.redis.start()
        assert (await following).has_final
    assert browser.retry_ms


@pytest.mark.full
@pytest.mark.parametrize("seed", range(2, 5))
async def test_clients_that_come_back_hear_all_of_it_once_whatever_is_killed(
    server: RealServer, seed: int
) -> None:
    random = Random(seed)  # noqa: S311 - nothing secret is drawn
    async with play(server, seed=seed) as scene:
        for fault in random.sample([kill_redis, kill_api, kill_worker] * 3, 9):
            jobs = await scene.submit(2)
            await scene.wait_for(
                random.choice(["started", "segment", "progress"]), jobs, events=random.randint(1, 2)
            )
            await asyncio.to_thread(fault, server)
            scene.attach(random.sample([*scene.texts], 1))
    await check(scene, server)
