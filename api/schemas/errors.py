"""Errors, as OpenAI shapes them."""

from pydantic import Field

from api.schemas.base import Body


class ErrorDetail(Body):
    """What went wrong."""

    message: str = Field(examples=["The file is empty: it has 0 bytes."])
    """What to do about it."""

    type: str = Field(examples=["invalid_request_error"])
    """`invalid_request_error`, `rate_limit_error` or `server_error`."""

    param: str | None = Field(examples=["file"])
    """The parameter that is wrong, if one is."""

    code: str | None = Field(examples=["audio_undecodable"])
    """The kind of error, for programs."""


class ErrorBody(Body):
    """Every error, as OpenAI shapes it."""

    error: ErrorDetail
    """The error: what to do about it, and what kind it is."""
