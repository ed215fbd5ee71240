"""Answers to requests whose body has not been read: they must reach clients that are still sending.

To close the connection at once would make the kernel reset it, and the client would see that instead of the
answer, and send the whole upload again. To read on for ever would let anybody keep the server busy.
"""

import asyncio

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SMALL_BODY_BYTES = 64 << 10
"""The server reads that much by itself while the connection stays open."""

DROPPED_BYTES = 256 << 20
DROPPED_WITHIN_S = 30.0
"""How much of a body is read and dropped after the answer, and for how long, before the connection ends."""


class UnreadBodies:
    """ASGI middleware that reads and drops what is left of a request's body, within bounds, then closes."""

    def __init__(
        self, app: ASGIApp, dropped_bytes: int = DROPPED_BYTES, within_s: float = DROPPED_WITHIN_S
    ) -> None:
        self._app = app
        self._dropped_bytes = dropped_bytes
        self._within_s = within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not _has_large_body(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        body = _Body(receive)
        is_left = False

        async def answer(message: Message) -> None:
            nonlocal is_left
            if message["type"] == "http.response.start" and not body.is_over:
                is_left = True
                MutableHeaders(scope=message)["connection"] = "close"
            if not is_left or message["type"] == "http.response.start" or message.get("more_body"):
                await send(message)
                return
            # All of the answer goes out now, its end when the client has sent enough.
            await send({**message, "more_body": True})
            await body.drop(self._dropped_bytes, self._within_s)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app(scope, body.receive, answer)


class _Body:
    """The body of one request, as far as it has come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.is_over = False

    async def receive(self) -> Message:
        """The next message of the client."""
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            self.is_over = True
        return message

    async def drop(self, limit_bytes: int, within_s: float) -> None:
        """Read on to the end of the body, or until that is too much or takes too long."""
        try:
            async with asyncio.timeout(within_s):
                while not self.is_over and limit_bytes > 0:
                    limit_bytes -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            return


def _has_large_body(headers: Headers) -> bool:
    if "transfer-encoding" in headers or "expect" in headers:
        return True  # of any length, or one that the client may never send: only a new connection is sure
    return int(headers.get("content-length", 0)) > SMALL_BODY_BYTES
