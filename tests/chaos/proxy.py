"""A TCP proxy in front of Redis that makes connections half-open: no data arrives, and nothing closes."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from pathlib import Path

CHUNK_BYTES = 1 << 16


class _Link:
    """One connection of a client and its counterpart to the server."""

    def __init__(self) -> None:
        self.is_silent = False


class Proxy(ABC):
    """A listener on a loopback port with a task for each connection."""

    def __init__(self) -> None:
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self) -> int:
        """Start to accept connections, and return the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Accept no more connections, and end the open ones."""
        if self._server is not None:
            self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    @abstractmethod
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection until it ends."""


class RedisProxy(Proxy):
    """A proxy to the server's unix socket."""

    def __init__(self, target: Path) -> None:
        super().__init__()
        self._target = target
        self._links: set[_Link] = set()

    async def start(self) -> str:
        """Start to forward, and return the REDIS_URL to use."""
        return f"redis://127.0.0.1:{await self.listen()}/0"

    def fall_silent(self) -> int:
        """Make all open connections half-open, as a router does that forgets them; return their number.

        New connections are not affected.
        """
        for link in self._links:
            link.is_silent = True
        return len(self._links)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.close()
            return
        link = _Link()
        self._links.add(link)
        outward = asyncio.create_task(_pump(server_reader, writer, link))
        try:
            await _pump(reader, server_writer, link)
            await outward
        finally:
            outward.cancel()
            self._links.discard(link)
            writer.close()
            server_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link) -> None:
    """Forward until one side closes, then close the other side, unless the link is silent."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            if not link.is_silent:
                writer.write(chunk)
                await writer.drain()
    if not link.is_silent:
        writer.close()
