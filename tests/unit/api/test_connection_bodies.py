"""Large request bodies reach the application whole, however they arrive, and wait in bounded memory."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from api.server import MAX_WAITING_BYTES, GuardedConnection, guard_connections

ANSWER = b"HTTP/1.1 204 "
UNREAD_BYTES = 64 << 10
"""The bytes that uvicorn lets wait for an application that reads nothing."""

RECEIVED_BYTES = 256 << 10


class Transport(asyncio.Transport):
    """A transport without a network: it collects what is written, and notes whether reading is paused."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__({"socket": connection})
        self.written = bytearray()
        self.is_paused = False
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: all is written at once."""

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


class Application:
    """An application that reads a body in at most so many messages, and then answers 204."""

    def __init__(self, reads: int) -> None:
        self.bodies: list[bytes] = []
        self.reads = asyncio.Semaphore(reads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, is_over = bytearray(), False
        while not is_over:
            await self.reads.acquire()
            message = await receive()
            body += message["body"]
            is_over = not message["more_body"]
        self.bodies.append(bytes(body))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


@contextmanager
def connect(application: Application) -> Iterator[tuple[GuardedConnection, Transport]]:
    """Connect a client without a network, inside a running event loop."""
    kind = guard_connections(60)
    config = Config(application, lifespan="off", ws="none", log_config=None)
    connection, (ours, theirs) = kind(config, ServerState(), {}), socket.socketpair()
    with ours, theirs:
        transport = Transport(ours)
        connection.connection_made(transport)
        yield connection, transport
        connection.connection_lost(None)


def deliver(connection: GuardedConnection, data: bytes) -> None:
    """Hand over bytes as an event loop does: as many as there is room for at a time."""
    while data:
        room = connection.get_buffer(-1)
        size = min(len(room), len(data))
        room[:size] = data[:size]
        connection.buffer_updated(size)
        data = data[size:]


async def settle() -> None:
    """Let the application take what it can without more bytes."""
    for _ in range(10):
        await asyncio.sleep(0)


def request_of(body: bytes, *, is_chunked: bool = False) -> bytes:
    head = b"POST / HTTP/1.1\r\nHost: a\r\n"
    if is_chunked:
        chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def split(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """Cut the data into pieces of these sizes, again and again."""
    start, index = 0, 0
    while start < len(data):
        end = start + sizes[index % len(sizes)]
        yield data[start:end]
        start, index = end, index + 1


async def exchange(requests: bytes, sizes: Sequence[int]) -> tuple[list[bytes], bytes]:
    """Return the bodies that the application has read, and the answers."""
    application = Application(reads=1_000_000)
    with connect(application) as (connection, transport):
        for piece in split(requests, sizes):
            deliver(connection, piece)
            await settle()
        await settle()
    return application.bodies, bytes(transport.written)


BODIES = st.lists(st.binary(max_size=300), min_size=1, max_size=3)


@settings(deadline=None, max_examples=60)
@given(bodies=BODIES, sizes=st.lists(st.integers(1, 400), min_size=1, max_size=5), is_chunked=st.booleans())
def test_bodies_do_not_depend_on_how_they_arrive(
    bodies: list[bytes], sizes: list[int], *, is_chunked: bool
) -> None:
    requests = b"".join(request_of(body, is_chunked=is_chunked) for body in bodies)

    read, answers = asyncio.run(exchange(requests, sizes))

    assert read == bodies
    assert answers.count(ANSWER) == len(bodies)


@pytest.mark.parametrize("piece_bytes", [1 << 10, 200_000, 3 << 20])
def test_a_large_body_arrives_unchanged(piece_bytes: int) -> None:
    body = bytes(range(256)) * 8_000

    read, _ = asyncio.run(exchange(request_of(body), [piece_bytes]))

    assert read == [body]


async def fill(*, reads: int) -> int:
    """Deliver an endless body until reading is paused for good, and return the bytes that wait."""
    with connect(Application(reads)) as (connection, transport):
        deliver(connection, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        while not transport.is_paused:
            deliver(connection, bytes(RECEIVED_BYTES))
            await settle()
        return len(connection.cycle.body)


def test_a_body_that_is_not_read_waits_in_little_memory() -> None:
    assert asyncio.run(fill(reads=0)) <= UNREAD_BYTES + RECEIVED_BYTES


def test_a_body_that_is_read_waits_in_more_memory_within_a_limit() -> None:
    assert MAX_WAITING_BYTES < asyncio.run(fill(reads=10)) <= MAX_WAITING_BYTES + RECEIVED_BYTES
