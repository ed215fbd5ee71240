"""The state of one request: its API key, the job it became, the stream slot it holds."""

from dataclasses import dataclass

import structlog
from starlette.types import Scope

from api.access.api_keys import ANYBODY, ApiKey

_STATE = "qwen3_asr.request"


@dataclass(slots=True)
class RequestState:
    """One request, as the layers of the api know it. The outermost layer creates it."""

    stream_token: str | None = None
    """The stream token that came in the query."""

    api_key: ApiKey = ANYBODY
    """The key of the request; ANYBODY on a server without keys."""

    job_id: str | None = None
    """The job that the answer and the log lines name."""

    is_replay: bool = False
    """Whether an earlier request with the same idempotency key began the job."""

    ignored_fields: str = ""
    """The fields of the form that the endpoint ignores, as the answer names them."""

    slot_holder: str | None = None
    """The name of the API key on which the stream slot of the request counts; None without a slot."""

    def note_job(self, job_id: str) -> None:
        """Let the answer to the request and all its further log lines name the job."""
        self.job_id = job_id
        structlog.contextvars.bind_contextvars(job_id=job_id)


def open_state(scope: Scope, *, stream_token: str | None = None) -> RequestState:
    """Create the state of the request in `scope`."""
    state = scope[_STATE] = RequestState(stream_token)
    return state


def find_state(scope: Scope) -> RequestState:
    """Return the state of the request in `scope`."""
    state: RequestState = scope[_STATE]
    return state
