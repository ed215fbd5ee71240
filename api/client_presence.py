"""Work that is done for a client as long as that stays."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request
from starlette.types import Receive

from api.errors.tree import ClientDisconnected


async def run_while_client_stays(request: Request, work: Coroutine[Any, Any, None]) -> None:
    """Do `work` to its end, unless the client of `request`, whose body is read, leaves before.

    Raises:
        ClientDisconnected: it did; the work was cancelled and is over.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(wait_for_disconnect(request.receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnected
        await working
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the client whose body is read has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
