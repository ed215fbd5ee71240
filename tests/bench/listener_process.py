"""A process of its own with thousands of listeners, each a bare socket that reads the events of one job.

Orders come on standard input, one line each: first what to listen to, as JSON, then within how many seconds
the streams should end. Each is answered by one line: how many listeners were let in, and what all of them
have heard when the last stream has ended, or at the end of that time.
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


class Attendance(msgspec.Struct, frozen=True):
    """What to listen to: the api's port, and one job for each listener."""

    port: int
    job_ids: tuple[str, ...]


class Heard(msgspec.Struct):
    """What one listener has heard: numbers of the events published, ids of all, and its delays in ms."""

    numbers: list[int] = msgspec.field(default_factory=list)
    ids: list[str] = msgspec.field(default_factory=list)
    delays_ms: list[float] = msgspec.field(default_factory=list)
    finals: int = 0
    is_closed: bool = False


class _Partial(msgspec.Struct):
    """Of a partial's data what is needed here."""

    delta: str


_read_partial = msgspec.json.Decoder(_Partial)
_read_attendance = msgspec.json.Decoder(Attendance)


def write_mark(number: int) -> str:
    """The delta of a published partial: its number, and now, by the clock that all processes share."""
    return f"{number} {time.monotonic():.6f}"


class Listener(asyncio.Protocol):
    """One connection; it keeps nothing but what is not yet a whole event."""

    def __init__(self, job_id: str, let_in: asyncio.Future[None]) -> None:
        self.heard = Heard()
        self._job_id = job_id
        self._let_in = let_in
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the events."""
        if isinstance(transport, asyncio.WriteTransport):
            path = f"/v1/jobs/{self._job_id}/events"
            transport.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        """Take what came; whole events are heard at once."""
        now = time.monotonic()
        self._unread += data
        if not self._let_in.done():
            self._read_head()
        *events, self._unread = self._unread.split(END_OF_EVENT)
        for event in events:
            self._hear(event, now)

    def connection_lost(self, exc: Exception | None) -> None:
        """The api has ended the stream, or is gone."""
        self.heard.is_closed = True
        if not self._let_in.done():
            self._let_in.set_exception(exc or ConnectionError("closed before it was answered"))

    def _read_head(self) -> None:
        head, end, rest = self._unread.partition(b"\r\n\r\n")
        if not end:
            return
        if b" 200 " not in head.splitlines()[0]:
            self._let_in.set_exception(ConnectionError(head.decode()))
            return
        self._unread = rest
        self._let_in.set_result(None)

    def _hear(self, event: bytes, now: float) -> None:
        """An event; lines of chunked transfer coding around it, and comments, have none of its fields."""
        fields = dict(line.split(b": ", 1) for line in event.split(b"\n") if b": " in line)
        if b"id" not in fields:
            return
        self.heard.ids.append(fields[b"id"].decode())
        if fields[b"event"] in FINAL:
            self.heard.finals += 1
        if fields[b"event"] == b"partial":
            number, published = _read_partial.decode(fields[b"data"]).delta.split()
            self.heard.numbers.append(int(number))
            self.heard.delays_ms.append((now - float(published)) * 1000)


async def _attend(attendance: Attendance) -> list[Listener]:
    """All listeners, when the last of them is let in."""
    at_once = asyncio.Semaphore(CONNECTING_AT_ONCE)
    loop = asyncio.get_running_loop()

    async def attend(job_id: str) -> Listener:
        async with at_once:
            let_in: asyncio.Future[None] = loop.create_future()
            _, listener = await loop.create_connection(
                lambda: Listener(job_id, let_in), "127.0.0.1", attendance.port
            )
            await let_in
            return listener

    return await asyncio.gather(*map(attend, attendance.job_ids))


async def serve_orders(orders: BinaryIO, answers: BinaryIO) -> None:
    """Attend, say so, and at the end tell all that was heard."""
    attendance = _read_attendance.decode(await asyncio.to_thread(orders.readline))
    allow_connections(len(attendance.job_ids))
    listeners = await _attend(attendance)
    _answer(answers, len(listeners))
    await _wait_until_ended(listeners, within_s=float(await asyncio.to_thread(orders.readline)))
    _answer(answers, [listener.heard for listener in listeners])


async def _wait_until_ended(listeners: Sequence[Listener], *, within_s: float) -> None:
    await wait_until(lambda: all(one.heard.is_closed for one in listeners), within_s=within_s)


def _answer(answers: BinaryIO, answer: object) -> None:
    answers.write(msgspec.json.encode(answer) + b"\n")
    answers.flush()


if __name__ == "__main__":
    asyncio.run(serve_orders(sys.stdin.buffer, sys.stdout.buffer))
