"""The proxy before Redis forwards, until its connections are made half-open."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.chaos.proxy import RedisProxy


def open_client(url: str) -> "redis.asyncio.Redis":
    """A client that does not hide a silent connection by trying again."""
    return redis.asyncio.Redis.from_url(url, socket_timeout=0.3, retry=Retry(NoBackoff(), 0))


async def test_a_half_open_connection_is_silent_and_a_new_one_is_not(redis_url: str) -> None:
    proxy = RedisProxy(Path(unquote(urlsplit(redis_url).path)))
    url = await proxy.start()
    async with open_client(url) as old, open_client(url) as new:
        assert await old.ping()

        assert proxy.fall_silent() == 1

        with pytest.raises(redis.TimeoutError):
            await old.ping()
        assert await new.ping()
    await proxy.stop()


async def test_where_there_is_no_server_a_connection_is_closed(tmp_path: Path) -> None:
    proxy = RedisProxy(tmp_path / "nobody.sock")
    async with open_client(await proxy.start()) as client:
        with pytest.raises(redis.ConnectionError):
            await client.ping()
    await proxy.stop()
