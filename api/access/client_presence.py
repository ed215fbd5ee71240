"""Work that is done for a client only while the client is connected."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.types import Receive

from api.errors.tree import ClientDisconnected

Answer = TypeVar("Answer")


async def run_while_connected(request: Request, work: Coroutine[Any, Any, Answer]) -> Answer:
    """Return what `work` returns. The body of `request` has been read before.

    Raises:
        ClientDisconnected: the client closed the connection first; the work was cancelled and has ended.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_wait_for_disconnect(request.receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnected
        return await working
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
