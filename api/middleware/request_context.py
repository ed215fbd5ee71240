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
        began_s = time.perf_counter()
        status = 0  # until the answer begins
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(MutableHeaders(scope=message), state, request_id)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, answer)
            finally:
                write = _logger.debug if scope["path"] in _PROBES else _logger.info
                took_ms = round((time.perf_counter() - began_s) * 1000, 1)
                method, path = scope["method"], scope["path"]
                write("request_served", method=method, path=path, status=status, took_ms=took_ms)


def _add_headers(headers: MutableHeaders, state: RequestState, request_id: str) -> None:
    headers["x-request-id"] = request_id
    if state.job_id is not None:
        headers["x-job-id"] = state.job_id
    if state.is_replay:
        headers["idempotent-replayed"] = "true"
    if state.ignored_fields:
        headers["x-ignored-fields"] = state.ignored_fields
