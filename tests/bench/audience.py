"""The process of the listeners, as the bench controls it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from tests.bench.line_process import LineProcess, open_line_process
from tests.bench.listener_process import ListenOrder, Received

MODULE = "tests.bench.listener_process"
CONNECT_WITHIN_S = 180.0

_received = msgspec.json.Decoder(list[Received])


class Audience:
    """Listeners in a separate process."""

    def __init__(self, process: LineProcess) -> None:
        self._process = process

    async def connect(self, order: ListenOrder) -> None:
        """Connect all listeners, and return when each follows its job.

        Raises:
            ChildEnded: a listener was not accepted.
        """
        async with asyncio.timeout(CONNECT_WITHIN_S):
            await self._process.ask(msgspec.json.encode(order))

    async def collect(self, *, within_s: float) -> Sequence[Received]:
        """Return the events of each listener, once all streams have ended or the time is over."""
        return _received.decode(await self._process.ask(str(within_s).encode()))


@asynccontextmanager
async def open_audience() -> AsyncIterator[Audience]:
    """Start the process, without listeners; it ends with the block."""
    async with open_line_process(sys.executable, MODULE) as process:
        yield Audience(process)
