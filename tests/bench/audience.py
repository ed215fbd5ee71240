"""The process of the listeners, as the bench controls it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from subprocess import PIPE

import msgspec

from scripts.purposes import REPOSITORY
from tests.bench.listener_process import ListenOrder, Received

MODULE = "tests.bench.listener_process"
MAX_ANSWER_BYTES = 1 << 28
CONNECT_WITHIN_S = 180.0

_received = msgspec.json.Decoder(list[Received])


class Audience:
    """Listeners in a separate process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def connect(self, order: ListenOrder) -> None:
        """Connect all listeners, and return when each follows its job.

        Raises:
            RuntimeError: a listener was not accepted.
        """
        async with asyncio.timeout(CONNECT_WITHIN_S):
            if not await self._ask(msgspec.json.encode(order)):
                raise RuntimeError("not all listeners were accepted; the output of their process is above")

    async def collect(self, *, within_s: float) -> Sequence[Received]:
        """Return the events of each listener, once all streams have ended or the time is over."""
        return _received.decode(await self._ask(str(within_s).encode()))

    async def _ask(self, line: bytes) -> bytes:
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        if pipe_in is None or pipe_out is None:
            raise RuntimeError("the process of the listeners has no pipes")
        pipe_in.write(line + b"\n")
        await pipe_in.drain()
        return await pipe_out.readline()


@asynccontextmanager
async def open_audience() -> AsyncIterator[Audience]:
    """Start the process, without listeners; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", MODULE), cwd=REPOSITORY, stdin=PIPE, stdout=PIPE, limit=MAX_ANSWER_BYTES
    )
    try:
        yield Audience(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
