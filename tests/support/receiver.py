"""A receiver of webhooks on loopback that behaves as a test wants."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from standardwebhooks import Webhook

from tests.support.server import wait_for

SECRET = "whsec_dGVzdHMgYXJlIHNpZ25lZCB3aXRoIHRoaXMgc2VjcmV0"  # noqa: S105 - of tests
PATIENCE_S = 60.0
POLL_S = 0.02
"""How soon it notices that it is to end."""


@dataclass(frozen=True)
class Reply:
    """How a request is answered: at once, or as its `manner` says.

    `hang`: not before the test calls `release`. `trickle`: a byte of the headers at a time until then.
    `endless`: with a body that does not end until then.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: str = "at once"


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def message_id(self) -> str:
        """What tells a message from others."""
        return self.headers["webhook-id"]

    def verify(self, secret: str = SECRET) -> dict[str, Any]:
        """The body, if the signature is right; raises WebhookVerificationError if not."""
        body: dict[str, Any] = Webhook(secret).verify(self.body, dict(self.headers))
        return body


class Receiver:
    """Answers one request after the other by its replies, and all further ones by the last of them."""

    def __init__(self, *replies: Reply) -> None:
        self.received: list[Received] = []
        self._replies = list(replies or (Reply(),))
        self._lock = threading.Lock()
        self._released = threading.Event()

    def __enter__(self) -> Self:
        """Begin to listen."""
        receiver = self

        class Requests(BaseHTTPRequestHandler):
            """One request."""

            def do_POST(self) -> None:
                receiver._answer(self)

            def do_GET(self) -> None:
                receiver._answer(self)

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_S,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def release(self) -> None:
        """Let all go on that hang."""
        self._released.set()

    def wait_for(self, count: int = 1) -> list[Received]:
        """The first requests, as soon as there are so many."""
        wait_for(lambda: len(self.received) >= count, what=f"request {count} to the receiver")
        return self.received[:count]

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("content-length", 0))
        body = request.rfile.read(length)
        if len(body) < length:  # who sent it was killed in the middle
            request.close_connection = True
            return
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self._lock:
            self.received.append(Received(request.path, headers, body))
            reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        try:
            self._send(request, reply)
        except OSError:
            request.close_connection = True

    def _send(self, request: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.manner == "hang":
            self._released.wait(PATIENCE_S)
        while reply.manner == "trickle" and not self._released.wait(0.02):
            request.wfile.write(b"H")
        request.send_response(reply.status)
        for name, value in reply.headers.items():
            request.send_header(name, value)
        request.end_headers()
        while reply.manner == "endless" and not self._released.wait(0.001):
            request.wfile.write(b"x" * 65_536)
