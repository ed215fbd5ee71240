"""A Redis that takes no writes for now is as one that does not answer: whoever can wait tries again."""

import pytest
import redis

from shared.errors import QueueUnavailable
from shared.job_store import needs_ticket
from shared.redis_connection import connect, open_async_connection, run_async_on
from shared.redis_scripts import ScriptCall
from tests.fakes.redis_fixture import RedisServer

WRITE = ScriptCall("announce_worker", ("nobody", "{}"), bool)


@pytest.fixture(params=["replicas", "memory"])
def unwilling_redis(request: pytest.FixtureRequest, mortal_redis: RedisServer) -> RedisServer:
    """A server that refuses writes, by an error as it gives with a full disk."""
    with redis.Redis.from_url(mortal_redis.url) as connection:
        if request.param == "replicas":
            connection.config_set("min-replicas-to-write", 1)
        else:
            connection.config_set("maxmemory", 1)
    return mortal_redis


def test_a_refused_write_is_an_unavailable_queue(unwilling_redis: RedisServer) -> None:
    with pytest.raises(QueueUnavailable):
        connect(unwilling_redis.url).run(WRITE)


async def test_so_it_is_on_an_asyncio_connection(unwilling_redis: RedisServer) -> None:
    connection = open_async_connection(unwilling_redis.url)
    with pytest.raises(QueueUnavailable):
        await run_async_on(connection).run(WRITE)
    await connection.aclose()


def test_an_error_of_a_script_is_none_that_passes(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        connection.set("wrong:queued", "no sorted set")
    scripts = connect(redis_url)
    scripts._keys = ["wrong:"]
    with pytest.raises(redis.ResponseError):
        scripts.run(needs_ticket("queue"))
