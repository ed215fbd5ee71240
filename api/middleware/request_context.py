"""What surrounds every request: its id, the job it became, its log line."""

import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SANE_ID = re.compile(r"[A-Za-z0-9._:=+/@-]{1,64}")
_PROBES = frozenset({"/health", "/ready"})

_logger = structlog.get_logger(__name__)


def note_job(scope: Scope, job_id: str) -> None:
    """Let the answer to this request, whatever it becomes, and its log lines name the job."""
    scope["state"]["job_id"] = job_id
    structlog.contextvars.bind_contextvars(job_id=job_id)


def note_replay(scope: Scope) -> None:
    """Let the answer, whatever it becomes, say that an earlier request with its idempotency key began it."""
    scope["state"]["is_replay"] = True


class RequestContext:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        with structlog.contextvars.bound_contextvars(request_id=exchange.request_id):
            try:
                await self._app(scope, receive, exchange.send)
            finally:
                exchange.log()


class _Exchange:
    """One request and what has been sent in answer to it; `status` is 0 until an answer begins."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._state = scope.setdefault("state", {})
        self._began_s = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        self.request_id = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
        self.status = 0

    async def send(self, message: Message) -> None:
        """Send on, adding our headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.request_id
            if "job_id" in self._state:
                headers["x-job-id"] = self._state["job_id"]
            if "is_replay" in self._state:
                headers["idempotent-replayed"] = "true"
        await self._send(message)

    def log(self) -> None:
        """Write the line of this request."""
        write = _logger.debug if self._scope["path"] in _PROBES else _logger.info
        took_ms = round((time.perf_counter() - self._began_s) * 1000, 1)
        method, path = self._scope["method"], self._scope["path"]
        write("request_served", method=method, path=path, status=self.status, took_ms=took_ms)
