"""Waiting for Redis and for the api: asked again and again, with a word to the user when it takes long."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

ASK_EVERY_S = 0.05
TELL_EVERY_S = 5.0
ANSWER_WITHIN_S = 5.0

Obstacle = str | None  # what is still missing, None: nothing


async def wait_until(
    ask: Callable[[], Awaitable[Obstacle]], *, what: str, say: Callable[[str], None]
) -> None:
    """Return when `ask` finds no obstacle; until then tell now and then what `what` is waiting for."""
    began = told = time.monotonic()
    while (obstacle := await ask()) is not None:
        now = time.monotonic()
        if now - told >= TELL_EVERY_S:
            told = now
            say(f"Still waiting for {what} after {now - began:.0f} s: {obstacle}")
        await asyncio.sleep(ASK_EVERY_S)


async def ask_redis(url: str) -> Obstacle:
    """Whether the Redis at `url` answers; a server that still loads its data does not."""
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


async def ask_api(base_url: str) -> Obstacle:
    """Whether the api at `base_url` would serve a request now, which it says by 200 at /ready."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            status, body = await _get(base_url, "/ready")
    except (OSError, TimeoutError, ValueError, IndexError) as problem:
        return f"the api does not answer ({type(problem).__name__})"
    return None if status == "200" else f"/ready answers {status}: {body[:200]}"


async def _get(base_url: str, path: str) -> tuple[str, str]:
    """Status code and body; a few lines of HTTP start faster than any client can be imported."""
    address = urlsplit(base_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode(errors="replace").partition("\r\n\r\n")
    finally:
        writer.close()
    return head.split(" ", 2)[1], body
