"""Errors in OpenAI's shape."""

from pydantic import Field

from api.schemas.base import Body


class ErrorDetail(Body):
    """The details of an error."""

    message: str = Field(examples=["The file is empty (0 bytes)."])
    """The cause and the remedy, for people."""

    type: str = Field(examples=["invalid_request_error"])
    """`invalid_request_error`, `rate_limit_error` or `server_error`."""

    param: str | None = Field(examples=["file"])
    """The parameter at fault; null if there is none."""

    code: str | None = Field(examples=["audio_undecodable"])
    """The kind of error, for programs; null for a wrong parameter."""


class ErrorBody(Body):
    """Every error, in OpenAI's shape."""

    error: ErrorDetail
    """The error."""
