"""The last border of errors: what nobody foresaw is logged once and told to no client."""

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors.answers import answer_error

_logger = structlog.get_logger(__name__)


class ErrorBorder:
    """ASGI middleware within all that adds headers, so that its answers have them too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def note_and_send(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, note_and_send)
        except Exception as error:  # no traceback may reach a client
            _logger.exception("request_failed", method=scope["method"], path=scope["path"])
            if has_begun:
                raise  # the server then cuts the connection, so that no client takes this for the end
            await answer_error(error)(scope, receive, send)
