"""Answers to requests whose body has not been read: they must reach clients that are still sending.

If the connection were closed at once, the kernel would reset it. The client would see the reset instead of
the answer, and send the whole upload again. If the body were read without limit, a client could keep the
server busy.
"""

import asyncio

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SMALL_BODY_BYTES = 64 << 10
"""The size up to which uvicorn reads a body itself, and keeps the connection open."""

DROPPED_BYTES = 256 << 20
DROPPED_WITHIN_S = 30.0
"""Limits on the part of a body that is read and dropped after the answer, before the connection ends."""


class UnreadBodies:
    """ASGI middleware that reads and drops the rest of a request's body, within limits, then closes."""

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
            # The whole answer is sent now, and its end after the rest of the body was dropped.
            await send({**message, "more_body": True})
            await body.drop(self._dropped_bytes, self._within_s)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app(scope, body.receive, answer)


class _Body:
    """The body of one request, as far as it has arrived."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.is_over = False

    async def receive(self) -> Message:
        """Return the next message of the client."""
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            self.is_over = True
        return message

    async def drop(self, limit_bytes: int, within_s: float) -> None:
        """Read to the end of the body, for at most `limit_bytes` and `within_s`."""
        try:
            async with asyncio.timeout(within_s):
                while not self.is_over and limit_bytes > 0:
                    limit_bytes -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            return


def _has_large_body(headers: Headers) -> bool:
    if "transfer-encoding" in headers or "expect" in headers:
        return True  # the body may have any length, or never come: only a new connection is safe
    return int(headers.get("content-length", 0)) > SMALL_BODY_BYTES
