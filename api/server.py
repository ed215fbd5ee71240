"""The HTTP server: uvicorn, extended to end streams at a stop, cut stalled connections, and take uploads."""

import asyncio
import fcntl
import resource
import socket
import struct
import sys
import termios
from typing import Any, ClassVar

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.settings import ApiSettings

# Longer than clients keep an idle connection. Otherwise a client could send into one that is just closed.
_KEEP_ALIVE_S = 75

_SPARE_FILES = 256
"""Files that the process opens besides its streams: Redis, uploads, short requests."""

_UNSENT_BYTES = 64 << 10
# Other connections wait while h11 parses what was received, and a body may consist of the smallest chunks.
_PARSED_AT_ONCE_BYTES = 32 << 10
# A body with a length is only copied.
_COPIED_AT_ONCE_BYTES = 256 << 10

MAX_WAITING_BYTES = 1 << 20
"""The bytes of a body that may wait for the application, if it has already read as many."""

_logger = structlog.get_logger(__name__)


class ApiServer(uvicorn.Server):
    """The server of one process."""

    def __init__(self, app: FastAPI, settings: ApiSettings) -> None:
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=guard_connections(settings.stream_send_timeout_s),
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=settings.drain_s,
            reset_contextvars=True,  # otherwise a request logs the ids of the previous one
            ws="none",  # so the answer does not depend on the installed packages
            log_config=None,
            access_log=False,
            server_header=False,
        )
        super().__init__(config)
        self._hub = app.state.hub
        self._settings = settings

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until SIGTERM or SIGINT."""
        allow_open_files(self._settings.max_streams)
        if self._settings.listen_fd is not None:
            # uvicorn's own `fd` treats each socket as a unix socket, and leaves Nagle's delay on.
            sockets = [socket.socket(fileno=self._settings.listen_fd)]
        super().run(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all streams, then stop; uvicorn calls this after a signal."""
        self._hub.close()
        await super().shutdown(sockets)


class GuardedConnection(H11Protocol, asyncio.BufferedProtocol):
    """A connection of uvicorn that is reset if its client stalls, and that takes in large bodies.

    At most one message waits here for the client; the rest waits in the event log. While a message waits,
    some of it must leave within `stall_s`, also after the response has ended or failed. Otherwise the
    connection is reset, and the response sees a disconnect. A close instead would wait for the client without
    limit, with the socket open.

    The middle of a body with a length bypasses h11, which would copy it three times. More of it may wait
    for the application than uvicorn allows: the next megabyte arrives while a thread writes the last one. For
    an application that reads nothing, such as a stream of events, uvicorn's limit remains.
    """

    stall_s: ClassVar[float]
    received: ClassVar[memoryview]  # shared: what arrives is copied before the next connection receives
    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the buffers small, here and in the kernel."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)
        _limit_kernel_buffer(self._socket, self.stall_s)

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Return the memory for the next bytes from the client."""
        return self.received[: max(self._count_body_left() - 1, _PARSED_AT_ONCE_BYTES)]

    def buffer_updated(self, nbytes: int) -> None:
        """Take the bytes that have arrived; h11 parses the end of each body."""
        received = self.received[:nbytes]
        if nbytes < self._count_body_left():
            self._take_body(received)
        else:
            self.data_received(bytes(received))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the watch."""
        self._stop_watch()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to watch the client, since a message waits for it."""
        super().pause_writing()
        self._watch_unsent()

    def resume_writing(self) -> None:
        """Stop the watch, since no message waits."""
        self._stop_watch()
        super().resume_writing()

    def _unsupported_upgrade_warning(self) -> None:
        """Log an attempt to open a WebSocket. uvicorn advises to install a library, and none would help."""
        _logger.info("upgrade_refused", reason="this server has no WebSocket endpoint")

    def _count_body_left(self) -> int:
        """Return the missing bytes of a body with a length; 0 if there is none, or the response has ended."""
        reader = getattr(self.conn, "_reader", None)
        left: int = getattr(reader, "_remaining", 0)
        return 0 if left and self.cycle.response_complete else left

    def _take_body(self, received: memoryview) -> None:
        self._unset_keepalive_if_required()
        reader: Any = self.conn._reader  # noqa: SLF001 - h11 has no public way around its buffer
        reader._remaining -= len(received)  # noqa: SLF001
        waiting = self.cycle.body
        waiting += received
        read_bytes = reader._length - reader._remaining - len(waiting)  # noqa: SLF001
        if len(waiting) > max(HIGH_WATER_LIMIT, min(read_bytes, MAX_WAITING_BYTES)):
            self.flow.pause_reading()
        self.cycle.message_event.set()

    def _watch_unsent(self) -> None:
        self._watch = self.loop.call_later(self.stall_s, self._check_progress, self._count_unsent())

    def _check_progress(self, before_bytes: int) -> None:
        if self._count_unsent() < before_bytes:
            self._watch_unsent()
            return
        _logger.info("connection_cut", reason="the client reads nothing", stall_s=self.stall_s)
        # Without this the kernel goes on trying to deliver its buffer.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _count_unsent(self) -> int:
        return self.transport.get_write_buffer_size() + _count_unacknowledged(self._socket)

    @property
    def _socket(self) -> socket.socket:
        connection: socket.socket = self.transport.get_extra_info("socket")
        return connection

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None


def guard_connections(stall_s: float) -> type[GuardedConnection]:
    """Return the class of connections that may stall for `stall_s`."""
    received = memoryview(bytearray(_COPIED_AT_ONCE_BYTES))
    return type("Connection", (GuardedConnection,), {"stall_s": stall_s, "received": received})


def allow_open_files(max_streams: int) -> None:
    """Raise the limit on open files to the number that `max_streams` need, as far as the system permits."""
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


def _limit_kernel_buffer(connection: socket.socket, stall_s: float) -> None:
    """Let the kernel keep little unsent data, and drop a client that acknowledges nothing for `stall_s`.

    Its buffers would grow to megabytes for each client that does not read. Some systems lack the options.
    """
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    for name, value in (("TCP_NOTSENT_LOWAT", _UNSENT_BYTES), ("TCP_USER_TIMEOUT", round(stall_s * 1000))):
        if option := getattr(socket, name, None):
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _count_unacknowledged(connection: socket.socket) -> int:
    """Return the bytes in the kernel that the client has not acknowledged; 0 where it does not count them."""
    try:
        return int.from_bytes(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0
