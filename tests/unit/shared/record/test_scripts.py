"""A Redis that refuses calls for now counts as one that does not answer."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from redis.exceptions import (
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    ResponseError,
    TryAgainError,
)

from shared.errors import QueueUnavailable
from shared.record.connection import connect, open_async_connection
from shared.record.scripts import AsyncScriptRunner, ScriptCall, is_passing
from shared.record.sweeper import needs_ticket
from shared.record.transitions import forget_jobs
from tests.support.redis_fixture import RedisServer

WRITE = ScriptCall("announce_worker", {"worker_id": "w", "presence": "{}", "model_state": "ready"}, bool)


@pytest.fixture(params=["replicas", "memory", "busy"])
def unwilling_redis(request: pytest.FixtureRequest, mortal_redis: RedisServer) -> Iterator[RedisServer]:
    """A server that refuses writes, by an error as it gives with a full disk, or all there is."""
    if request.param == "busy":
        with mortal_redis.busy():
            yield mortal_redis
        return
    with redis.Redis.from_url(mortal_redis.url) as connection:
        if request.param == "replicas":
            connection.config_set("min-replicas-to-write", 1)
        else:
            connection.config_set("maxmemory", 1)
    yield mortal_redis


def test_a_refused_write_is_an_unavailable_queue(unwilling_redis: RedisServer) -> None:
    with pytest.raises(QueueUnavailable):
        connect(unwilling_redis.url).run(WRITE)


async def test_so_it_is_on_an_asyncio_connection(unwilling_redis: RedisServer) -> None:
    connection = open_async_connection(unwilling_redis.url)
    with pytest.raises(QueueUnavailable):
        await AsyncScriptRunner(connection).run(WRITE)
    await connection.aclose()


def test_an_error_of_a_script_is_none_that_passes(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        connection.set("wrong:queued", "no sorted set")
    scripts = connect(redis_url)
    scripts._prefix = "wrong:"
    with pytest.raises(redis.ResponseError):
        scripts.run(needs_ticket("queue"))


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ResponseError("BUSY Redis is busy running a script. You can only call SCRIPT KILL."), True),
        (ResponseError("UNKILLABLE Sorry the script already executed write commands."), True),
        (ResponseError("MISCONF Errors writing to the AOF file: No space left on device"), True),
        (MasterDownError("Link with MASTER is down and replica-serve-stale-data is set to 'no'."), True),
        (ClusterDownError("The cluster is down"), True),
        (TryAgainError("Multiple keys request during rehashing of slot"), True),
        (ResponseError("BUSYGROUP Consumer Group name already exists"), False),
        (ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), False),
        (NoPermissionError("this user has no permissions to run the 'evalsha' command"), False),
    ],
)
def test_what_a_server_is_over_by_itself_passes(error: ResponseError, *, passes: bool) -> None:
    assert is_passing(error) is passes


async def test_a_cancel_that_the_library_swallows_still_cancels() -> None:
    began = asyncio.Event()

    async def swallow_cancel(**_: object) -> bytes:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return b"reply"
        return b""

    connection: Any = SimpleNamespace(register_script=lambda _source: swallow_cancel)
    task = asyncio.create_task(AsyncScriptRunner(connection, "test:").run(forget_jobs()))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
