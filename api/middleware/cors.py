"""What web pages of other origins may do: CORS by the setting CORS_ORIGINS."""

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from api.errors.answers import answer_error
from shared.errors import InvalidRequest

_METHODS = ("GET", "POST", "DELETE")

# What a page may read of an answer beside its body.
EXPOSED_HEADERS = (
    "Idempotent-Replayed",
    "Location",
    "Preference-Applied",
    "Retry-After",
    "WWW-Authenticate",
    "X-Engine",
    "X-Job-Id",
    "X-Model",
    "X-Request-Id",
    "X-Should-Retry",
    "X-Transcript-Complete",
    "X-Transcript-Warnings",
)


class CrossOrigin(CORSMiddleware):
    """ASGI middleware that lets pages of some origins in; keys come in headers, never as credentials."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=("*",),  # OpenAI's client sends a dozen of its own
            expose_headers=EXPOSED_HEADERS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to a preflight; a refusal is in the shape of all errors."""
        response = super().preflight_response(request_headers)
        if response.status_code == HTTPStatus.OK:
            return response
        reason = bytes(response.body).decode()
        refusal = answer_error(InvalidRequest(f"{reason}: the setting CORS_ORIGINS says who may call."))
        for name in ("Vary", "Access-Control-Allow-Origin"):
            if name in response.headers:
                refusal.headers[name] = response.headers[name]
        return refusal
