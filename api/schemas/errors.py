"""Errors, as OpenAI shapes them."""

from api.schemas.base import Body


class ErrorDetail(Body):
    """What went wrong."""

    message: str
    """What to do about it."""

    type: str
    """`invalid_request_error` or `server_error`."""

    param: str | None
    """The parameter that is wrong, if one is."""

    code: str | None
    """The kind of error, for programs."""


class ErrorBody(Body):
    """Every error, as OpenAI shapes it."""

    error: ErrorDetail
    """The error: what to do about it, and what kind it is."""
