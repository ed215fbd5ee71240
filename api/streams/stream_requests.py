"""The outermost layer around requests: it takes stream tokens out of sight, and slots of streams back."""

from starlette.types import ASGIApp, Receive, Scope, Send

from api.access.stream_tokens import hide_token
from api.streams.stream_slots import StreamSlots


class StreamRequests:
    """ASGI middleware around all others: whatever becomes of a request, no log shows its stream token."""

    def __init__(self, app: ASGIApp, slots: StreamSlots) -> None:
        self._app = app
        self._slots = slots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        hide_token(scope)
        try:
            await self._app(scope, receive, send)
        finally:
            self._slots.free(scope)
