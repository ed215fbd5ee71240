"""Authorization: `Authorization: Bearer KEY` is needed on all paths but a few without data of clients.

A stream token, `?token=`, replaces the key where the events of its job are read, and nowhere else.
"""

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access.api_keys import ApiKey, ApiKeys
from api.access.request_state import find_state
from api.access.stream_tokens import StreamTokens, find_followed_job
from api.errors.answers import answer_error
from api.errors.tree import IncorrectApiKey, IncorrectStreamToken, MissingApiKey
from shared.errors import QueueUnavailable

_OPEN_PATHS = frozenset({"/health", "/ready", "/docs", "/openapi.json"})
_OPEN_FOLDERS = ("/static-offline-docs/",)

_POLICY_VIOLATION = 1008


def is_open_path(path: str) -> bool:
    """Return whether `path` is served without a key, as probes and the documentation are.

    Metrics must not be listed here without a setting of their own: they show what other clients do.
    """
    return path in _OPEN_PATHS or path.startswith(_OPEN_FOLDERS)


class Authorization:
    """ASGI middleware that refuses requests without a valid key before their body is read."""

    def __init__(self, app: ASGIApp, keys: ApiKeys, tokens: StreamTokens) -> None:
        self._app = app
        self._keys = keys
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] == "lifespan" or is_open_path(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            key = await self._authorize(scope)
        except (MissingApiKey, IncorrectApiKey, IncorrectStreamToken, QueueUnavailable) as error:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            else:
                await answer_error(error)(scope, receive, send)
            return
        find_state(scope).api_key = key
        structlog.contextvars.bind_contextvars(key_name=key.name)
        await self._app(scope, receive, send)

    async def _authorize(self, scope: Scope) -> ApiKey:
        """Return the key of a request, or raise the error for its key or token."""
        headers, token = Headers(scope=scope), find_state(scope).stream_token
        if token is None or "authorization" in headers:
            return self._read_key(headers)
        job_id = find_followed_job(scope)
        if job_id is None:
            raise MissingApiKey
        key = self._keys.find_named(await self._tokens.find_key_name(token, job_id))
        if key is None:
            raise IncorrectStreamToken
        return key

    def _read_key(self, headers: Headers) -> ApiKey:
        scheme, _, presented = headers.get("authorization", "").strip().partition(" ")
        presented = presented.strip()
        if scheme.lower() != "bearer" or not presented:
            raise MissingApiKey
        key = self._keys.find(presented)
        if key is None:
            raise IncorrectApiKey
        return key
