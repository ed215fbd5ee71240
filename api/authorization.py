"""Who may use the server: `Authorization: Bearer KEY` on all paths but a few that hold nobody's data."""

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.api_keys import ANYBODY, ApiKey, ApiKeys
from api.error_answers import answer_error
from api.errors import IncorrectApiKey, MissingApiKey

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

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] == "lifespan" or is_open_path(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            key = self._authorize(Headers(scope=scope))
        except (MissingApiKey, IncorrectApiKey) as error:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            else:
                await answer_error(error)(scope, receive, send)
            return
        scope.setdefault("state", {})["api_key"] = key
        structlog.contextvars.bind_contextvars(key_name=key.name)
        await self._app(scope, receive, send)

    def _authorize(self, headers: Headers) -> ApiKey:
        """The key in the headers.

        Raises:
            MissingApiKey, IncorrectApiKey: there is none, or one that is unknown here.
        """
        scheme, _, presented = headers.get("authorization", "").strip().partition(" ")
        presented = presented.strip()
        if scheme.lower() != "bearer" or not presented:
            raise MissingApiKey
        key = self._keys.find(presented)
        if key is None:
            raise IncorrectApiKey
        return key
