"""A process with thousands of listeners, each a bare socket that reads the events of one job.

Orders come on standard input, one line each: first the jobs, as JSON, then the seconds within which the
streams should end. Each gets one line as an answer: the number of accepted listeners, and the events of all
of them when the last stream has ended, or at the end of that time.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import BinaryIO

import msgspec

from tests.bench.machine import allow_connections
from tests.chaos.waiting import wait_until

CONNECTING_AT_ONCE = 100
END_OF_EVENT = b"\n\n"
FINAL = frozenset({b"succeeded", b"failed", b"cancelled"})


class ListenOrder(msgspec.Struct, frozen=True):
    """The api's port, and one job for each listener."""

    port: int
    job_ids: tuple[str, ...]


class Received(msgspec.Struct):
    """The events of one listener: numbers of the published ones, ids of all, and the delays in ms."""

    numbers: list[int] = msgspec.field(default_factory=list)
    ids: list[str] = msgspec.field(default_factory=list)
    delays_ms: list[float] = msgspec.field(default_factory=list)
    finals: int = 0
    is_closed: bool = False


class _Partial(msgspec.Struct):
    """The part of a partial's data that is needed here."""

    delta: str


_read_partial = msgspec.json.Decoder(_Partial)
_read_order = msgspec.json.Decoder(ListenOrder)


def write_mark(number: int) -> str:
    """Return the delta of a published partial: its number, and the time of the clock that processes share."""
    return f"{number} {time.monotonic():.6f}"


class Listener(asyncio.Protocol):
    """One connection; it keeps only the bytes of an incomplete event."""

    def __init__(self, job_id: str, accepted: asyncio.Future[None]) -> None:
        self.received = Received()
        self._job_id = job_id
        self._accepted = accepted
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Request the events."""
        if isinstance(transport, asyncio.WriteTransport):
            path = f"/v1/jobs/{self._job_id}/events"
            transport.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        """Read the complete events."""
        now = time.monotonic()
        self._unread += data
        if not self._accepted.done():
            self._read_head()
        *events, self._unread = self._unread.split(END_OF_EVENT)
        for event in events:
            self._read_event(event, now)

    def connection_lost(self, exc: Exception | None) -> None:
        """Record the end of the stream."""
        self.received.is_closed = True
        if not self._accepted.done():
            self._accepted.set_exception(exc or ConnectionError("closed before it was answered"))

    def _read_head(self) -> None:
        head, end, rest = self._unread.partition(b"\r\n\r\n")
        if not end:
            return
        if b" 200 " not in head.splitlines()[0]:
            self._accepted.set_exception(ConnectionError(head.decode()))
            return
        self._unread = rest
        self._accepted.set_result(None)

    def _read_event(self, event: bytes, now: float) -> None:
        """Read an event; lines of chunked coding, and comments, have none of its fields."""
        fields = dict(line.split(b": ", 1) for line in event.split(b"\n") if b": " in line)
        if b"id" not in fields:
            return
        self.received.ids.append(fields[b"id"].decode())
        if fields[b"event"] in FINAL:
            self.received.finals += 1
        if fields[b"event"] == b"partial":
            number, published = _read_partial.decode(fields[b"data"]).delta.split()
            self.received.numbers.append(int(number))
            self.received.delays_ms.append((now - float(published)) * 1000)


async def _connect(order: ListenOrder) -> list[Listener]:
    """Return all listeners when the last one is accepted."""
    at_once = asyncio.Semaphore(CONNECTING_AT_ONCE)
    loop = asyncio.get_running_loop()

    async def connect(job_id: str) -> Listener:
        async with at_once:
            accepted: asyncio.Future[None] = loop.create_future()
            _, listener = await loop.create_connection(
                lambda: Listener(job_id, accepted), "127.0.0.1", order.port
            )
            await accepted
            return listener

    return await asyncio.gather(*map(connect, order.job_ids))


async def serve_orders(orders: BinaryIO, answers: BinaryIO) -> None:
    """Connect the listeners, answer, and at the end return their events."""
    order = _read_order.decode(await asyncio.to_thread(orders.readline))
    allow_connections(len(order.job_ids))
    listeners = await _connect(order)
    _answer(answers, len(listeners))
    await _wait_until_ended(listeners, within_s=float(await asyncio.to_thread(orders.readline)))
    _answer(answers, [listener.received for listener in listeners])


async def _wait_until_ended(listeners: Sequence[Listener], *, within_s: float) -> None:
    await wait_until(lambda: all(one.received.is_closed for one in listeners), within_s=within_s)


def _answer(answers: BinaryIO, answer: object) -> None:
    answers.write(msgspec.json.encode(answer) + b"\n")
    answers.flush()


if __name__ == "__main__":
    asyncio.run(serve_orders(sys.stdin.buffer, sys.stdout.buffer))
