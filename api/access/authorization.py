"""Who may use the server: `Authorization: Bearer KEY` on all paths but a few that hold nobody's data.

A stream token, `?token=`, stands for a key where the events of its job are read, and nowhere else.
"""

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access.api_keys import ANYBODY, ApiKey, ApiKeys
from api.access.stream_tokens import StreamTokens, find_followed_job, find_token
from api.errors.answers import answer_error
from api.errors.tree import IncorrectApiKey, IncorrectStreamToken, MissingApiKey
from shared.errors import QueueUnavailable

_OPEN_PATHS = frozenset({"/health", "/ready", "/docs", "/docs/oauth2-redirect", "/openapi.json"})
_OPEN_FOLDERS = ("/static-offline-docs/",)

_POLICY_VIOLATION = 1008


def is_open_path(path: str) -> bool:
    """Whether `path` is served without a key.

    Probes and the documentation are, whatever the settings. Metrics, once there are any, are not to be listed
    here without a setting of their own: they tell what others do.
    """
    return path in _OPEN_PATHS or path.startswith(_OPEN_FOLDERS)


def find_api_key(scope: Scope) -> ApiKey:
    """The key that the request came with; ANYBODY where the server asks for none."""
    key: ApiKey = scope["state"].get("api_key", ANYBODY)
    return key


class Authorization:
    """ASGI middleware that lets requests with a key pass, and refuses others before their body is read."""

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
        scope.setdefault("state", {})["api_key"] = key
        structlog.contextvars.bind_contextvars(key_name=key.name)
        await self._app(scope, receive, send)

    async def _authorize(self, scope: Scope) -> ApiKey:
        """The key that lets the request in.

        Raises:
            MissingApiKey, IncorrectApiKey: there is none in its headers, or one that is unknown here.
            IncorrectStreamToken: it follows a job with a token instead, and not with one of that job.
            QueueUnavailable: Redis has not answered for long, so a token cannot be looked up.
        """
        headers, token = Headers(scope=scope), find_token(scope)
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
