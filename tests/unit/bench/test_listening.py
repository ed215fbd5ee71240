"""A listener's bytes become events, and those it missed, got twice or out of order are counted."""

import asyncio

import pytest

from tests.bench.figures import Count
from tests.bench.listener_process import Listener, Received, write_mark
from tests.bench.listening import count_harm, sum_counts

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


def frame(event_id: str, name: str, data: str) -> bytes:
    """An event as a chunk of a chunked answer."""
    text = f"id: {event_id}\nevent: {name}\ndata: {data}\n\n".encode()
    return f"{len(text):x}\r\n".encode() + text + b"\r\n"


def partial(event_id: str, number: int) -> bytes:
    return frame(event_id, "partial", f'{{"window":0,"delta":"{write_mark(number)}","tail":""}}')


STREAM = b"".join(
    (
        HEAD,
        frame("1-0", "queued", '{"position":0}'),
        partial("2-0", 4),
        b"f\r\n: heartbeat\n\n\r\n",
        partial("3-0", 9),
        frame("4-0", "cancelled", "{}"),
        b"0\r\n\r\n",
    )
)


@pytest.mark.parametrize("piece", [1, 7, 10_000])
async def test_events_are_read_however_the_bytes_come(piece: int) -> None:
    accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    listener = Listener("job", accepted)

    for start in range(0, len(STREAM), piece):
        listener.data_received(STREAM[start : start + piece])
    listener.connection_lost(None)

    received = listener.received
    assert (received.numbers, received.ids) == ([4, 9], ["1-0", "2-0", "3-0", "4-0"])
    assert (received.finals, received.is_closed, accepted.done()) == (1, True, True)
    assert all(delay_ms >= 0 for delay_ms in received.delays_ms)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 429 Too Many Requests\r\n\r\n", b""])
async def test_a_listener_that_is_not_accepted_says_so(answer: bytes) -> None:
    accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    listener = Listener("job", accepted)

    listener.data_received(answer)
    listener.connection_lost(None)

    with pytest.raises(ConnectionError):
        await accepted


def hear(numbers: list[int], ids: list[str], *, finals: int = 1, is_closed: bool = True) -> Received:
    return Received(numbers, ids, [1.0] * len(numbers), finals, is_closed)


GOOD = hear([0, 2], ["9-0", "10-0", "10-1", "11-0"])


@pytest.mark.parametrize(
    ("received", "harm"),
    [
        (GOOD, [0, 0, 0, 1]),
        (hear([0], ["9-0", "10-0"]), [1, 0, 0, 1]),
        (hear([0, 2, 2], ["9-0", "10-0", "10-1", "11-0"]), [0, 1, 0, 1]),
        (hear([2, 0], ["9-0", "10-0", "10-1", "11-0"]), [0, 0, 1, 1]),
        (hear([0, 2], ["10-0", "9-0", "10-1", "11-0"]), [0, 0, 1, 1]),
        (hear([0, 2], ["9-0", "10-0", "10-1"], finals=0), [0, 0, 0, 0]),
        (hear([0, 2], ["9-0", "10-0", "10-1"], is_closed=False), [0, 0, 0, 0]),
    ],
)
def test_each_kind_of_harm_is_counted(received: Received, harm: list[int]) -> None:
    counts = count_harm({"job": [0, 2]}, [received])

    assert [one.here for one in counts] == harm
    assert all(one.is_right for one in counts) == (received is GOOD)


def test_the_counts_of_several_runs_are_added_up() -> None:
    counts = [Count("missed", 0, 0), Count("ended", 50, 50), Count("missed", 2, 0), Count("ended", 199, 200)]

    assert sum_counts(counts) == [Count("missed", 2, 0), Count("ended", 249, 250)]
