"""The hub wakes listeners, however its connection breaks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NoReturn

import pytest
import redis

from api.streams import event_hub
from api.streams.event_hub import EventHub
from shared.record.keys import END_MESSAGE, wake_up_channel
from tests.support.patience import WITHIN_S, wait_until
from tests.support.redis_fixture import RedisServer


@pytest.fixture
async def hub(redis_url: str) -> AsyncIterator[EventHub]:
    hub = EventHub(redis_url)
    running = asyncio.create_task(hub.run())
    await _connected(hub)
    yield hub
    await _end(running)


async def _end(running: asyncio.Task[NoReturn]) -> None:
    """End a hub's task and wait until its connection is closed on this side."""
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def _connected(hub: EventHub) -> None:
    with hub.listen("any") as wake_up:
        await asyncio.wait_for(wake_up.wait(), WITHIN_S)


def publish(redis_url: str, job_id: str, message: bytes = b"") -> None:
    with redis.Redis.from_url(redis_url) as connection:
        connection.publish(wake_up_channel(job_id), message)


async def test_a_message_wakes_all_listeners_of_its_job_and_no_others(hub: EventHub, redis_url: str) -> None:
    with hub.listen("a") as first, hub.listen("a") as second, hub.listen("b") as other:
        publish(redis_url, "a")
        await asyncio.wait_for(asyncio.gather(first.wait(), second.wait()), WITHIN_S)
        assert not other.is_set()


async def test_a_listener_that_comes_right_after_the_end_is_woken(hub: EventHub, redis_url: str) -> None:
    with hub.listen("b") as other:
        publish(redis_url, "a", END_MESSAGE)
        publish(redis_url, "b")
        await asyncio.wait_for(other.wait(), WITHIN_S)
    with hub.listen("a", only_for_end=True) as late, hub.listen("b", only_for_end=True) as unended:
        assert late.is_set()
        assert not unended.is_set()


async def test_a_listener_for_the_end_is_not_woken_by_other_events(hub: EventHub, redis_url: str) -> None:
    with hub.listen("a") as listener, hub.listen("a", only_for_end=True) as waiting:
        publish(redis_url, "a")
        await asyncio.wait_for(listener.wait(), WITHIN_S)
        assert not waiting.is_set()
        publish(redis_url, "a", END_MESSAGE)
        await asyncio.wait_for(waiting.wait(), WITHIN_S)
        assert "a" in hub.job_ids
    assert "a" not in hub.job_ids


async def test_it_lists_the_jobs_that_have_listeners(hub: EventHub) -> None:
    assert "a" not in hub.job_ids
    with hub.listen("a"):
        assert "a" in hub.job_ids
    assert "a" not in hub.job_ids


async def test_a_cut_connection_is_made_again_and_wakes_all_listeners(hub: EventHub, redis_url: str) -> None:
    with hub.listen("a") as wake_up:
        with redis.Redis.from_url(redis_url) as connection:
            connection.client_kill_filter(_type="pubsub")
        await asyncio.wait_for(wake_up.wait(), WITHIN_S)
        wake_up.clear()
        publish(redis_url, "a")
        await asyncio.wait_for(wake_up.wait(), WITHIN_S)


async def test_a_listener_for_the_end_is_woken_after_a_gap(hub: EventHub, redis_url: str) -> None:
    with hub.listen("a", only_for_end=True) as waiting:
        with redis.Redis.from_url(redis_url) as connection:
            connection.client_kill_filter(_type="pubsub")
        await asyncio.wait_for(waiting.wait(), WITHIN_S)


async def test_a_server_that_dies_and_comes_back_is_found_again(mortal_redis: RedisServer) -> None:
    hub = EventHub(mortal_redis.url)
    running = asyncio.create_task(hub.run())
    await _connected(hub)
    with hub.listen("a") as wake_up:
        mortal_redis.kill()
        await asyncio.to_thread(mortal_redis.start)
        await asyncio.wait_for(wake_up.wait(), WITHIN_S)
    await _end(running)


async def test_a_silent_connection_is_kept_as_long_as_it_answers(
    hub: EventHub, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        before, connected = _pings(connection), _subscribers(connection)
        monkeypatch.setattr(event_hub, "PING_INTERVAL_S", 0.05)
        publish(redis_url, "to end the first wait")
        await wait_until(lambda: _pings(connection) >= before + 3)
        assert _subscribers(connection) <= connected


async def test_a_half_open_connection_is_noticed(
    mortal_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_hub, "PING_INTERVAL_S", 0.2)
    hub = EventHub(mortal_redis.url)
    running = asyncio.create_task(hub.run())
    await _connected(hub)
    with hub.listen("a") as wake_up:
        mortal_redis.freeze()
        await wait_until(lambda: hub.is_disconnected)
        mortal_redis.thaw()
        await asyncio.wait_for(wake_up.wait(), WITHIN_S)
    await _end(running)


async def test_it_ends_at_any_moment_it_is_cancelled(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "PING_INTERVAL_S", 0.004)
    hubs = [EventHub(redis_url) for _ in range(40)]
    running = [asyncio.create_task(hub.run()) for hub in hubs]
    await asyncio.gather(*(_connected(hub) for hub in hubs))
    for task in running:
        task.cancel()
        await asyncio.sleep(0.0007)  # so that each meets another moment between two pings
    _, pending = await asyncio.wait(running, timeout=WITHIN_S)
    assert not pending


async def test_closing_wakes_all_listeners(hub: EventHub) -> None:
    with hub.listen("a") as wake_up:
        hub.close()
        assert wake_up.is_set()
        assert hub.is_closed


def _subscribers(connection: "redis.Redis") -> set[str]:
    """The ids of the connections that wait for messages; a new connection has a new id."""
    return {client["id"] for client in connection.client_list(_type="pubsub")}


def _pings(connection: "redis.Redis") -> int:
    statistics = connection.info("commandstats")
    return int(statistics.get("cmdstat_ping", {}).get("calls", 0))
