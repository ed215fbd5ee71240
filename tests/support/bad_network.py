"""A network before the api that fails by a seed: it closes, resets and falls silent, in mid-frame too."""

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from random import Random

from tests.chaos.proxy import CHUNK_BYTES, Proxy

# Powers of two between which the bytes are drawn that a connection carries: from a piece of the headers to
# all of a stream, and from a piece of a request to all of an upload.
_TO_CLIENT_BITS = (6, 13)
_TO_API_BITS = (6, 20)

_RESETS_ON_CLOSE = struct.pack("ii", 1, 0)


class Fate(StrEnum):
    """How a connection ends that has carried what it may."""

    CLOSED = "closed"  # in good order, though in the middle of something
    RESET = "reset"
    SILENT = "silent"  # nothing arrives any more, and nothing closes


# What befalls so many connections, in an order that is drawn; then the same again.
_ROUND = {Fate.CLOSED: 7, Fate.RESET: 7, Fate.SILENT: 1}


class BadNetwork(Proxy):
    """Forwards to the api on `port`; each connection carries some bytes, and then meets its fate."""

    def __init__(self, port: int, *, seed: int) -> None:
        super().__init__()
        self._port = port
        self._random = Random(seed)  # noqa: S311 - nothing secret is drawn
        self._fates = self._draw_fates()
        self.met: Counter[Fate] = Counter()

    async def start(self) -> str:
        """Begin to forward; returns the base URL to use."""
        return f"http://127.0.0.1:{await self.listen()}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inward, outward = self._draw_bytes(_TO_API_BITS), self._draw_bytes(_TO_CLIENT_BITS)
        writers = [writer]
        try:
            api_reader, api_writer = await asyncio.open_connection("127.0.0.1", self._port)
            writers.append(api_writer)
            if await _carry_first((reader, api_writer, inward), (api_reader, writer, outward)):
                fate = next(self._fates)
                self.met[fate] += 1
                await _meet(fate, writers)
        except OSError:
            pass  # the api is away, or one side has gone: so is the other then
        finally:
            for one in writers:
                one.close()

    def _draw_bytes(self, bits: tuple[int, int]) -> int:
        return int(2 ** self._random.uniform(*bits))

    def _draw_fates(self) -> Iterator[Fate]:
        while True:
            yield from self._random.sample([*_ROUND], sum(_ROUND.values()), counts=[*_ROUND.values()])


_Way = tuple[asyncio.StreamReader, asyncio.StreamWriter, int]


async def _carry_first(*ways: _Way) -> bool:
    """Carry both ways until one of them is over: whether it has carried all that it may."""
    tasks = [asyncio.create_task(_carry(*way)) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return any(task.result() for task in done)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int) -> bool:
    """Carry `left` bytes at the most: whether there were as many."""
    while chunk := await reader.read(min(CHUNK_BYTES, left)):
        writer.write(chunk)
        await writer.drain()
        left -= len(chunk)
        if not left:
            return True
    return False


async def _meet(fate: Fate, writers: list[asyncio.StreamWriter]) -> None:
    match fate:
        case Fate.CLOSED:
            pass
        case Fate.RESET:
            for writer in writers:
                _reset(writer)
        case Fate.SILENT:
            await asyncio.Event().wait()  # for as long as there is a network


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS_ON_CLOSE)
    writer.transport.abort()
