"""Waiting for conditions that set no event."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable


async def wait_until(
    look: Callable[[], object] | Callable[[], Awaitable[object]],
    *,
    every_s: float = 0.05,
    within_s: float = 1e9,
) -> None:
    """Return once `look`, plain or asynchronous, returns a true value, or after `within_s`."""
    give_up_s = time.monotonic() + within_s
    while time.monotonic() < give_up_s:
        seen = look()
        if await seen if inspect.isawaitable(seen) else seen:
            return
        await asyncio.sleep(every_s)
