"""Tokens for streams in browsers."""

from pydantic import Field

from api.schemas.base import Body
from api.schemas.jobs import JOB_ID_EXAMPLE

_TOKEN_EXAMPLE = "Zx3v9Qy1Lk0aTb7WmNcR5eUoPdHs2GfJiX8rV4tBqYM"  # noqa: S105 - nobody's


class StreamTokenBody(Body):
    """A token for the events of one job, and for nothing else."""

    token: str = Field(examples=[_TOKEN_EXAMPLE])
    """To be sent as `?token=`."""

    expires_in_s: float = Field(examples=[300.0])
    """Seconds for which streams can begin with it; one that has begun goes on."""

    events_url: str = Field(examples=[f"/v1/jobs/{JOB_ID_EXAMPLE}/events?token={_TOKEN_EXAMPLE}"])
    """The path of the events with the token in it, as EventSource takes it."""
