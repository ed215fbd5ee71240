"""The process of the listeners, seen from here."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from subprocess import PIPE

import msgspec

from scripts.purposes import REPOSITORY
from tests.bench.listener_process import Attendance, Heard

MODULE = "tests.bench.listener_process"
MAX_ANSWER_BYTES = 1 << 28
ATTEND_WITHIN_S = 180.0

_heard = msgspec.json.Decoder(list[Heard])


class Audience:
    """Listeners that are let in."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def attend(self, attendance: Attendance) -> None:
        """Return when all listeners are let in.

        Raises:
            RuntimeError: one was not.
        """
        async with asyncio.timeout(ATTEND_WITHIN_S):
            if not await self._ask(msgspec.json.encode(attendance)):
                raise RuntimeError("not all listeners were let in; what it said is above")

    async def tell(self, *, within_s: float) -> Sequence[Heard]:
        """What each has heard, once all streams have ended or that time is over."""
        return _heard.decode(await self._ask(str(within_s).encode()))

    async def _ask(self, order: bytes) -> bytes:
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        if pipe_in is None or pipe_out is None:
            raise RuntimeError("the process of the listeners has no pipes")
        pipe_in.write(order + b"\n")
        await pipe_in.drain()
        return await pipe_out.readline()


@asynccontextmanager
async def open_audience() -> AsyncIterator[Audience]:
    """A process without listeners yet; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", MODULE), cwd=REPOSITORY, stdin=PIPE, stdout=PIPE, limit=MAX_ANSWER_BYTES
    )
    try:
        yield Audience(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
