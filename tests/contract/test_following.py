"""A follower gets every event once and in order, from any event on and through outages of Redis."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import NamedTuple

import pytest
import redis

from api.access import record_reader
from api.access.record_reader import RecordReader
from api.streams import following
from api.streams.event_hub import EventHub
from api.streams.following import JobFollower
from shared.errors import QueueUnavailable
from shared.events import Loading
from shared.jobs import Claim, Endpoint, JobState, NewJob, Priority, TranscriptionRequest, Upload
from shared.record import transitions
from shared.record.admission import submit_job
from shared.record.connection import (
    MAX_ASYNC_CONNECTIONS,
    connect,
    open_async_connection,
)
from shared.record.readings import LOG_START, PAGE_BYTES, PAGE_EVENTS, LoggedEvent
from shared.record.scripts import AsyncScriptRunner, ScriptRunner
from tests.support.patience import WITHIN_S, wait_until
from tests.support.record_readings import read_log
from tests.support.redis_fixture import RedisServer
from tests.support.single_claims import claim_job

TTL_S = 60.0
UPLOAD = Upload("7", "a.wav", 10, "ab", 2.0)
NEW_JOB = NewJob("7", Endpoint.JOBS, Priority.BATCH, UPLOAD, TranscriptionRequest())


class Followed(NamedTuple):
    """A follower, and the record it follows."""

    follower: JobFollower
    hub: EventHub
    record: ScriptRunner


async def _follow(url: str) -> AsyncIterator[Followed]:
    hub = EventHub(url)
    running = asyncio.create_task(hub.run())
    connection = open_async_connection(url)
    reader = RecordReader(AsyncScriptRunner(connection), is_stopping=lambda: hub.is_closed)
    yield Followed(JobFollower(hub, reader), hub, connect(url))
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await connection.aclose()


@pytest.fixture
async def followed(redis_url: str) -> AsyncIterator[Followed]:
    async for ready in _follow(redis_url):
        yield ready


@pytest.fixture
async def mortal(mortal_redis: RedisServer) -> AsyncIterator[Followed]:
    async for ready in _follow(mortal_redis.url):
        yield ready


def begin_job(record: ScriptRunner) -> Claim:
    record.run(submit_job(NEW_JOB))
    claim = record.run(claim_job("w", engine="whisper", model="base", lease_s=30))
    assert claim is not None
    return claim


async def collect(follower: JobFollower, after_id: str = LOG_START) -> list[LoggedEvent]:
    return await _join(follower.follow_pages("7", after_id=after_id))


async def _join(pages: AsyncIterator[tuple[LoggedEvent, ...]]) -> list[LoggedEvent]:
    return [logged async for page in pages for logged in page]


def names(events: list[LoggedEvent]) -> list[str]:
    return [logged.event.type for logged in events]


async def test_events_come_as_they_happen_and_end_with_the_final_one(followed: Followed) -> None:
    claim = begin_job(followed.record)
    collecting = asyncio.create_task(collect(followed.follower))
    await wait_until(lambda: "7" in followed.hub.job_ids)
    followed.record.run(transitions.emit_event(claim, Loading("weights", 1.0)))
    followed.record.run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=TTL_S))
    events = await asyncio.wait_for(collecting, WITHIN_S)
    assert names(events) == ["queued", "started", "loading", "succeeded"]
    assert "7" not in followed.hub.job_ids


async def test_a_late_follower_gets_everything_from_any_event_on(followed: Followed) -> None:
    claim = begin_job(followed.record)
    followed.record.run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=TTL_S))
    events = await collect(followed.follower)
    assert names(events) == ["queued", "started", "succeeded"]
    assert await collect(followed.follower, events[0].event_id) == events[1:]
    assert await collect(followed.follower, events[-1].event_id) == []


async def test_a_log_longer_than_a_page_is_read_to_its_end(followed: Followed) -> None:
    claim = begin_job(followed.record)
    for number in range(PAGE_EVENTS + 10):
        followed.record.run(transitions.emit_event(claim, Loading("step", float(number))))
    followed.record.run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=TTL_S))
    events = await asyncio.wait_for(collect(followed.follower), WITHIN_S)
    steps = [logged.event.elapsed_s for logged in events if isinstance(logged.event, Loading)]
    assert steps == [float(number) for number in range(PAGE_EVENTS + 10)]
    assert events[-1].event.is_final


async def test_a_first_page_is_passed_on_and_nothing_is_missed_after_it(followed: Followed) -> None:
    claim = begin_job(followed.record)
    first_page = followed.record.run(read_log("7", after_id=LOG_START))
    followed.record.run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=TTL_S))
    pages = followed.follower.follow_pages("7", after_id=LOG_START, first_page=first_page)
    collected = await asyncio.wait_for(_join(pages), WITHIN_S)
    assert names(collected) == ["queued", "started", "succeeded"]


async def test_a_page_of_large_events_is_short_and_none_is_missed(followed: Followed) -> None:
    claim = begin_job(followed.record)
    for number in range(6):
        followed.record.run(transitions.emit_event(claim, Loading("x" * (PAGE_BYTES // 2), float(number))))
    page = followed.record.run(read_log("7", after_id=LOG_START))
    assert page is not None
    assert page.has_more
    assert names(list(page.events)) == ["queued", "started", "loading", "loading"]
    followed.record.run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=TTL_S))
    events = await asyncio.wait_for(collect(followed.follower), WITHIN_S)
    steps = [logged.event.elapsed_s for logged in events if isinstance(logged.event, Loading)]
    assert steps == [float(number) for number in range(6)]


async def test_many_followers_share_few_connections(followed: Followed, redis_url: str) -> None:
    with followed.hub.listen("any") as wake_up:
        await asyncio.wait_for(wake_up.wait(), WITHIN_S)
    claim = begin_job(followed.record)
    received: list[list[LoggedEvent]] = [[] for _ in range(300)]

    async def follow(events: list[LoggedEvent]) -> None:
        async for page in followed.follower.follow_pages("7", after_id=LOG_START):
            events.extend(page)

    with redis.Redis.from_url(redis_url) as connection:
        connected, subscribed = (len(connection.client_list(_type=kind)) for kind in ("normal", "pubsub"))
        following_all = asyncio.gather(*map(follow, received))
        await wait_until(lambda: all(len(events) == 2 for events in received))
        followed.record.run(transitions.emit_event(claim, Loading("step", 1.0)))
        await wait_until(lambda: all(len(events) == 3 for events in received))
        assert len(connection.client_list(_type="normal")) <= connected + MAX_ASYNC_CONNECTIONS
        assert len(connection.client_list(_type="pubsub")) <= subscribed
    followed.record.run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=TTL_S))
    await asyncio.wait_for(following_all, WITHIN_S)
    assert all(events == received[0] for events in received)


async def test_following_ends_when_there_is_no_job(followed: Followed) -> None:
    assert await collect(followed.follower) == []


@pytest.mark.parametrize("steps", range(8))
async def test_a_follower_ends_at_any_step_of_a_read_it_is_cancelled(followed: Followed, steps: int) -> None:
    begin_job(followed.record)
    async with aclosing(followed.follower.follow_pages("7", after_id=LOG_START)) as pages:
        await anext(pages)  # opens a connection, which the next read uses
    following_on = asyncio.create_task(followed.follower.follow_to_end("7"))
    for _ in range(steps):
        await asyncio.sleep(0)
    following_on.cancel()
    await asyncio.wait({following_on}, timeout=WITHIN_S)
    assert following_on.cancelled()
    assert "7" not in followed.hub.job_ids


async def test_a_new_job_is_read_once_it_has_ended(followed: Followed) -> None:
    claim = begin_job(followed.record)
    following_on = asyncio.create_task(followed.follower.follow_to_end("7", is_new=True))
    await wait_until(lambda: "7" in followed.hub.job_ids)
    followed.record.run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=TTL_S))
    job = await asyncio.wait_for(following_on, WITHIN_S)
    assert job is not None
    assert job.state is JobState.SUCCEEDED


async def test_a_new_job_is_read_at_once_without_wake_ups(redis_url: str) -> None:
    connection = open_async_connection(redis_url)
    hub = EventHub(redis_url)
    hub.close()
    reader = RecordReader(AsyncScriptRunner(connection), is_stopping=lambda: False)
    assert await asyncio.wait_for(JobFollower(hub, reader).follow_to_end("7", is_new=True), WITHIN_S) is None
    await connection.aclose()


async def test_following_ends_when_the_process_is_about_to_stop(followed: Followed) -> None:
    begin_job(followed.record)
    collecting = asyncio.create_task(collect(followed.follower))
    await wait_until(lambda: "7" in followed.hub.job_ids)
    followed.hub.close()
    await asyncio.wait_for(collecting, WITHIN_S)


async def test_nothing_is_missed_without_a_single_wake_up(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "RECHECK_S", 0.05)
    connection = open_async_connection(redis_url)
    reader = RecordReader(AsyncScriptRunner(connection), is_stopping=lambda: False)
    deaf = JobFollower(EventHub(redis_url), reader)
    record = connect(redis_url)
    claim = begin_job(record)
    pages = deaf.follow_pages("7", after_id=LOG_START)
    assert [logged.event.type for logged in await anext(pages)] == ["queued", "started"]
    record.run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=TTL_S))
    assert [logged.event.type async for page in pages for logged in page] == ["succeeded"]
    await connection.aclose()


async def test_a_restart_of_redis_is_waited_for_and_loses_nothing(
    mortal: Followed, mortal_redis: RedisServer
) -> None:
    claim = begin_job(mortal.record)
    collecting = asyncio.create_task(collect(mortal.follower))
    await wait_until(lambda: "7" in mortal.hub.job_ids)
    mortal_redis.kill()
    await asyncio.to_thread(mortal_redis.start)
    mortal.record.run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=TTL_S))
    events = await asyncio.wait_for(collecting, WITHIN_S)
    assert names(events) == ["queued", "started", "succeeded"]


async def test_an_outage_of_redis_ends_the_read_after_a_limit(
    mortal: Followed, mortal_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_reader, "PATIENCE_S", 0.2)
    mortal_redis.kill()
    with pytest.raises(QueueUnavailable):
        await asyncio.wait_for(collect(mortal.follower), WITHIN_S)
