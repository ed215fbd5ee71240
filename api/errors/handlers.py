"""The handlers that turn every exception of a request into an answer in OpenAI's shape."""

from http import HTTPStatus

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors.answers import INVALID, SERVER, ErrorAnswer, answer_error, compose_body
from api.errors.path_hints import find_similar_path, matches_template
from api.errors.tree import ClientDisconnected
from shared.errors import InvalidRequest, ServerError
from shared.faults import describe_input

# No client receives it. In the log it separates these requests from refused ones.
_CLIENT_CLOSED_REQUEST = 499

_logger = structlog.get_logger(__name__)


def install_error_handlers(app: FastAPI) -> None:
    """Register the handlers for all exceptions that routes raise on purpose."""
    app.exception_handler(ServerError)(_on_server_error)
    app.exception_handler(RequestValidationError)(_on_invalid_parameter)
    app.exception_handler(HTTPException)(_on_http_exception)
    app.exception_handler(ClientDisconnect)(_on_disconnect)
    app.exception_handler(ClientDisconnected)(_on_disconnect)


class CatchAll:
    """ASGI middleware that logs an unexpected exception once and answers it without its text.

    It belongs inside all middleware that adds headers, so that its answers have them too.
    """

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
        except Exception as error:  # the border of a request: no traceback may reach a client
            _logger.exception("request_failed", method=scope["method"], path=scope["path"])
            if has_begun:
                raise  # the server then cuts the connection; otherwise a client would see a complete answer
            await answer_error(error)(scope, receive, send)


async def _on_server_error(_request: Request, error: ServerError) -> Response:
    return answer_error(error)


async def _on_invalid_parameter(_request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    name = str(first["loc"][1])  # after `query`, and before the place in a list
    return answer_error(InvalidRequest(describe_input(name, first), param=name))


async def _on_http_exception(request: Request, error: HTTPException) -> Response:
    similar = find_similar_path(request.url.path, request.app.openapi()["paths"])
    hint = f"Did you mean {similar}? " if similar else ""
    messages = {
        404: f"There is no endpoint at {request.url.path}. {hint}/docs lists all endpoints.",
        405: f"{request.url.path} does not support {request.method}. /docs lists what it supports.",
    }
    kind = INVALID if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR else SERVER
    message = messages.get(error.status_code, str(error.detail))
    body = compose_body(message, ErrorAnswer(error.status_code, kind))
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _list_methods(request, headers.get("Allow", "GET, HEAD"))
    return JSONResponse(body, error.status_code, headers)


def _list_methods(request: Request, of_route: str) -> str:
    """Return all methods of the path; `of_route` has those of one of its routes only."""
    app: FastAPI = request.app
    described = {
        method.upper()
        for template, operations in app.openapi()["paths"].items()
        if matches_template(request.url.path, template)
        for method in operations
    }
    methods = {*of_route.split(", "), *described}
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=_CLIENT_CLOSED_REQUEST)
