"""Waiting until Redis and the api are ready, with a message when that takes long."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from cli.up.output import Show

CHECK_INTERVAL_S = 0.05
MESSAGE_INTERVAL_S = 5.0
ANSWER_WITHIN_S = 5.0

Obstacle = str | None
"""The reason why a part is not ready, empty if it does not answer yet; None if it is ready."""


async def wait_until(check: Callable[[], Awaitable[Obstacle]], *, name: str, show: Show) -> None:
    """Return when `check` finds no obstacle; show every few seconds that `name` is starting, and why."""
    began = shown = time.monotonic()
    while (obstacle := await check()) is not None:
        now = time.monotonic()
        if now - shown >= MESSAGE_INTERVAL_S:
            shown = now
            reason = f": {obstacle}" if obstacle else ""
            show(f"{name} is still starting ({now - began:.0f} s){reason}")
        await asyncio.sleep(CHECK_INTERVAL_S)


async def check_redis(url: str) -> Obstacle:
    """Check that the Redis at `url` answers, which it does not while it loads its data."""
    once = Retry(NoBackoff(), retries=0)
    client = Redis.from_url(
        url, retry=once, socket_connect_timeout=ANSWER_WITHIN_S, socket_timeout=ANSWER_WITHIN_S
    )
    try:
        await client.ping()
    except (RedisError, OSError) as problem:
        return str(problem) or type(problem).__name__
    finally:
        await client.aclose()
    return None


async def check_api(base_url: str) -> Obstacle:
    """Check that the api at `base_url` would accept a request now: /ready answers 200.

    A model that cannot be loaded is no obstacle to the start: the worker reports it in its log.
    """
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            status, body = await _get_ready(base_url)
    except (OSError, TimeoutError, ValueError, IndexError):
        return ""
    if '"no_worker"' in body:
        return "no worker is ready yet"
    return (
        None if status == "200" or '"model_unavailable"' in body else f"/ready answers {status}: {body[:200]}"
    )


async def _get_ready(base_url: str) -> tuple[str, str]:
    """Return status code and body. These few lines start faster than an HTTP client can be imported."""
    address = urlsplit(base_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(f"GET /ready HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode(errors="replace").partition("\r\n\r\n")
    finally:
        writer.close()
    return head.split(" ", 2)[1], body
