"""Connections to clients: one whose client takes nothing of what is sent to it is cut."""

import asyncio
import fcntl
import resource
import socket
import struct
import sys
import termios
from typing import ClassVar

import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

_SPARE_FILES = 256
"""How many files beside the streams this process may have open: Redis, uploads, short requests."""

_UNSENT_BYTES = 64 << 10

_logger = structlog.get_logger(__name__)


class GuardedConnection(H11Protocol):
    """One connection of uvicorn's that is cut when its client stalls.

    No more than one message waits here for the client, the rest in the event log. While one waits, some of
    it must leave within `stall_s`, whether the response goes on, has ended or has failed: otherwise the
    connection is reset, and whoever answers on it sees that the client has left. To close it instead would
    wait for a client that does not read, with the socket open, for as long as it likes.
    """

    stall_s: ClassVar[float]
    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)
        _tune(self._socket, self.stall_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_watching()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Something has to wait for the client."""
        super().pause_writing()
        self._watch_rest()

    def resume_writing(self) -> None:
        """Nothing waits any more."""
        self._stop_watching()
        super().resume_writing()

    def _watch_rest(self) -> None:
        self._watch = self.loop.call_later(self.stall_s, self._look_at_rest, self._count_rest())

    def _look_at_rest(self, before_bytes: int) -> None:
        if self._count_rest() < before_bytes:
            self._watch_rest()
            return
        _logger.info("connection_cut", reason="the client reads nothing", stall_s=self.stall_s)
        # Without this the kernel goes on trying to deliver what it has.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _count_rest(self) -> int:
        return self.transport.get_write_buffer_size() + _count_unacknowledged(self._socket)

    @property
    def _socket(self) -> socket.socket:
        connection: socket.socket = self.transport.get_extra_info("socket")
        return connection

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None


def guard_connections(stall_s: float) -> type[GuardedConnection]:
    """The class of connections that may stall for `stall_s`."""
    return type("Connection", (GuardedConnection,), {"stall_s": stall_s})


def allow_open_files(max_streams: int) -> None:
    """Let this process have as many files open as that many streams take, as far as the system lets it."""
    needed = max_streams + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):  # macOS has a limit beyond the hard one
        allowed = soft
    if allowed < needed:
        _logger.warning("few_open_files", allowed=allowed, needed=needed, remedy="raise ulimit -n")


def _tune(connection: socket.socket, stall_s: float) -> None:
    """Let the kernel keep little that was not sent, and give up a client that acknowledges nothing for long.

    Its own buffers would grow to megabytes for each client that does not read. Not all systems can.
    """
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    for name, value in (("TCP_NOTSENT_LOWAT", _UNSENT_BYTES), ("TCP_USER_TIMEOUT", round(stall_s * 1000))):
        if option := getattr(socket, name, None):
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _count_unacknowledged(connection: socket.socket) -> int:
    """How many bytes the kernel has that the client's has not acknowledged; 0 where it does not tell."""
    try:
        return int.from_bytes(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0
