"""Connections to Redis that survive half-open sockets, restarts and bursts of callers."""

from typing import Any

import redis
import redis.asyncio

from shared.record.scripts import AsyncScriptRunner, ScriptRunner

KEY_PREFIX = "qwen3-asr:"
"""What every key and channel of ours begins with."""

MAX_ASYNC_CONNECTIONS = 32

# A half-open connection is noticed by the health check; a caller waits for `socket_timeout` at the most.
_OPTIONS: dict[str, Any] = {"socket_timeout": 5, "socket_connect_timeout": 3, "health_check_interval": 10}


def connect(redis_url: str) -> ScriptRunner:
    """A runner of scripts on a pool of blocking connections. Nothing is sent before the first call."""
    return ScriptRunner(redis.Redis.from_url(redis_url, **_OPTIONS), KEY_PREFIX)


def open_async_connection(redis_url: str) -> "redis.asyncio.Redis":
    """A pool of asyncio connections whose callers wait for a free one instead of failing in a burst."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        redis_url, max_connections=MAX_ASYNC_CONNECTIONS, timeout=5, **_OPTIONS
    )
    return redis.asyncio.Redis.from_pool(pool)


def run_async_on(connection: "redis.asyncio.Redis") -> AsyncScriptRunner:
    """A runner of scripts on an asyncio connection."""
    return AsyncScriptRunner(connection, KEY_PREFIX)


def wake_up_channel(job_id: str) -> str:
    """The channel on which the listeners of a job are woken up; `*` for those of all jobs."""
    return f"{KEY_PREFIX}ev:{job_id}"


DELIVERIES_CHANNEL = f"{KEY_PREFIX}delivery_opened"
"""The channel of a message for each webhook delivery that is opened."""

END_MESSAGE = b"end"
"""What a wake-up says where nothing more will happen to the job; others say nothing."""


def job_of_channel(channel: str) -> str:
    """The job whose listeners a message on `channel` wakes up."""
    return channel.removeprefix(f"{KEY_PREFIX}ev:")
