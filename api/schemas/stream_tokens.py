"""Stream tokens, for event streams in browsers."""

from pydantic import Field

from api.schemas.base import Body
from api.schemas.jobs import JOB_ID_EXAMPLE

_TOKEN_EXAMPLE = "Zx3v9Qy1Lk0aTb7WmNcR5eUoPdHs2GfJiX8rV4tBqYM"  # noqa: S105 - nobody's


class StreamTokenBody(Body):
    """A token that is valid only for the events of one job."""

    token: str = Field(examples=[_TOKEN_EXAMPLE])
    """The value of `?token=`."""

    expires_in_s: float = Field(examples=[300.0])
    """Seconds for which a stream can begin with the token. An open stream goes on."""

    events_url: str = Field(examples=[f"/v1/jobs/{JOB_ID_EXAMPLE}/events?token={_TOKEN_EXAMPLE}"])
    """The path of the events with the token, for EventSource."""
