"""Waiting in tests for what cannot be awaited, as long as it takes and no longer."""

import asyncio
from collections.abc import Callable

WITHIN_S = 30.0

PATIENT_WITH_ENGINES = {"CANCEL_GRACE_MS": "60000"}
"""Settings for a test that sees an engine stop: one that a busy machine holds up is not ended for it."""


async def wait_until(look: Callable[[], object], *, within_s: float = WITHIN_S) -> None:
    """Return as soon as `look` sees something true.

    Raises:
        TimeoutError: it has not within `within_s`.
    """
    async with asyncio.timeout(within_s):
        while not look():  # noqa: ASYNC110 - what is looked at sets no event
            await asyncio.sleep(0.005)
