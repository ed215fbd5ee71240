"""Connections to Redis that survive half-open sockets, restarts and bursts of callers."""

from typing import Any

import redis
import redis.asyncio

from shared.record.scripts import ScriptRunner

MAX_ASYNC_CONNECTIONS = 32

# The health check notices a half-open connection; a caller waits for `socket_timeout` at most.
_OPTIONS: dict[str, Any] = {"socket_timeout": 5, "socket_connect_timeout": 3, "health_check_interval": 10}


def connect(redis_url: str) -> ScriptRunner:
    """Return a runner on a pool of blocking connections. The first call opens one."""
    return ScriptRunner(open_connection(redis_url))


def open_connection(redis_url: str) -> "redis.Redis":
    """Return a pool of blocking connections. The first call opens one."""
    return redis.Redis.from_url(redis_url, **_OPTIONS)


def open_async_connection(redis_url: str) -> "redis.asyncio.Redis":
    """Return a pool of asyncio connections. In a burst, callers wait for a free one instead of failing."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        redis_url, max_connections=MAX_ASYNC_CONNECTIONS, timeout=5, **_OPTIONS
    )
    return redis.asyncio.Redis.from_pool(pool)
