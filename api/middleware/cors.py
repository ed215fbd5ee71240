"""CORS: the access of web pages from other origins, by the setting CORS_ORIGINS."""

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from api.errors.answers import answer_error
from shared.errors import InvalidRequest

# The headers of an answer that a page may read.
EXPOSED_HEADERS = (
    "Idempotent-Replayed",
    "Location",
    "Preference-Applied",
    "Retry-After",
    "WWW-Authenticate",
    "X-Engine",
    "X-Ignored-Fields",
    "X-Job-Id",
    "X-Model",
    "X-Request-Id",
    "X-Should-Retry",
    "X-Transcript-Complete",
    "X-Transcript-Warnings",
)


class CrossOrigin(CORSMiddleware):
    """ASGI middleware that admits pages of some origins. Keys come in headers, never as credentials."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("*",),  # OpenAI's client sends a dozen headers of its own
            expose_headers=EXPOSED_HEADERS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the answer to a preflight; a refusal has the shape of all errors."""
        response = super().preflight_response(request_headers)
        if response.status_code == HTTPStatus.OK:
            return response
        reason = bytes(response.body).decode()
        refusal = answer_error(InvalidRequest(f"{reason}. Add the origin to CORS_ORIGINS."))
        for name in ("Vary", "Access-Control-Allow-Origin"):
            if name in response.headers:
                refusal.headers[name] = response.headers[name]
        return refusal
