"""The outermost layer around each request: its state, id and log line, and the end of its stream slot."""

import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access.request_state import RequestState, open_state
from api.access.stream_slots import StreamSlots
from api.access.stream_tokens import take_token

_SANE_ID = re.compile(r"[A-Za-z0-9._:=+/@-]{1,64}")
_PROBES = frozenset({"/health", "/ready"})

_logger = structlog.get_logger(__name__)


class RequestContext:
    """ASGI middleware around all other layers."""

    def __init__(self, app: ASGIApp, slots: StreamSlots) -> None:
        self._app = app
        self._slots = slots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        state = open_state(scope, stream_token=take_token(scope))
        try:
            if scope["type"] == "http":
                await self._exchange(state, scope, receive, send)
            else:
                await self._app(scope, receive, send)
        finally:
            self._slots.free(state)

    async def _exchange(self, state: RequestState, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _Exchange(state, scope, send)
        with structlog.contextvars.bound_contextvars(request_id=exchange.request_id):
            try:
                await self._app(scope, receive, exchange.send)
            finally:
                exchange.log()


class _Exchange:
    """One HTTP request and its answer; `status` is 0 until the answer begins."""

    def __init__(self, state: RequestState, scope: Scope, send: Send) -> None:
        self._state = state
        self._scope = scope
        self._send = send
        self._began_s = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        self.request_id = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
        self.status = 0

    async def send(self, message: Message) -> None:
        """Send a message of the answer, with our headers added."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.request_id
            if self._state.job_id is not None:
                headers["x-job-id"] = self._state.job_id
            if self._state.is_replay:
                headers["idempotent-replayed"] = "true"
        await self._send(message)

    def log(self) -> None:
        """Write the log line of the request."""
        write = _logger.debug if self._scope["path"] in _PROBES else _logger.info
        took_ms = round((time.perf_counter() - self._began_s) * 1000, 1)
        method, path = self._scope["method"], self._scope["path"]
        write("request_served", method=method, path=path, status=self.status, took_ms=took_ms)
