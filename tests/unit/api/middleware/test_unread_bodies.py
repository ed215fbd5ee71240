"""The rest of a body is dropped after the answer, within limits."""

import asyncio

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from api.middleware.unread_bodies import UnreadBodies


class Exchange:
    """A client that sends `chunks` and then falls silent, and what it is answered."""

    def __init__(self, chunks: list[Message], **headers: str) -> None:
        self.sent: list[Message] = []
        self.left = chunks
        encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.scope: Scope = {"type": "http", "method": "POST", "path": "/", "headers": encoded}

    async def receive(self) -> Message:
        if not self.left:
            await asyncio.Event().wait()
        return self.left.pop(0)

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("no", 413)(scope, receive, send)


def chunk(size: int = 1000, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": bytes(size), "more_body": more}


async def serve(exchange: Exchange, *, dropped_bytes: int = 10_000, within_s: float = 30.0) -> None:
    app = UnreadBodies(refuse, dropped_bytes, within_s)
    await app(exchange.scope, exchange.receive, exchange.send)


@pytest.mark.parametrize(
    "last", [chunk(more=False), {"type": "http.disconnect"}], ids=["it has sent all", "it left"]
)
async def test_the_rest_is_dropped_until_the_client_is_done(last: Message) -> None:
    exchange = Exchange([chunk(), chunk(), last, chunk()], transfer_encoding="chunked")
    await serve(exchange)
    assert exchange.left == [chunk()]
    assert exchange.headers[b"connection"] == b"close"
    assert [message.get("body") for message in exchange.sent] == [None, b"no", b""]
    assert [message.get("more_body") for message in exchange.sent] == [None, True, False]


async def test_no_more_than_the_limit_is_dropped() -> None:
    exchange = Exchange([chunk() for _ in range(20)], content_length="20000000")
    await serve(exchange, dropped_bytes=5_500)
    assert len(exchange.left) == 14
    assert exchange.sent[-1]["more_body"] is False


async def test_no_client_is_waited_for_longer_than_the_limit() -> None:
    exchange = Exchange([chunk()], content_length="20000000")
    await serve(exchange, within_s=0.01)
    assert exchange.left == []
    assert exchange.sent[-1]["more_body"] is False


@pytest.mark.parametrize("headers", [{}, {"content_length": "0"}, {"content_length": "65536"}])
async def test_a_small_body_is_left_to_the_server(headers: dict[str, str]) -> None:
    exchange = Exchange([chunk()], **headers)
    await serve(exchange)
    assert len(exchange.left) == 1
    assert b"connection" not in exchange.headers


@pytest.mark.parametrize("headers", [{"expect": "100-continue", "content_length": "10"}])
async def test_a_body_that_may_never_arrive_ends_the_connection(headers: dict[str, str]) -> None:
    exchange = Exchange([], **headers)
    await serve(exchange, within_s=0.01)
    assert exchange.headers[b"connection"] == b"close"


async def test_a_body_that_was_read_changes_nothing() -> None:
    async def read_and_answer(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        await refuse(scope, receive, send)

    exchange = Exchange([chunk(), chunk(more=False)], content_length="20000000")
    await UnreadBodies(read_and_answer)(exchange.scope, exchange.receive, exchange.send)
    assert b"connection" not in exchange.headers
    assert len(exchange.sent) == 2
