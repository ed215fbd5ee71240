"""The errors that only the api raises; they belong to the tree drawn in `shared/errors.py`."""

from collections.abc import Iterable

from shared.errors import InvalidRequest, ServerError


class ModelNotFound(ServerError):
    """The request names a model that no live worker serves."""

    def __init__(self, name: str, served: Iterable[str]) -> None:
        listing = ", ".join(repr(model) for model in sorted(served))
        super().__init__(
            f"The model {name[:100]!r} does not exist here. Send one of {listing}, or no model at all.",
            param="model",
        )


class UnsupportedValue(InvalidRequest):
    """A parameter has a value that OpenAI knows and this server does not serve."""


class MissingApiKey(ServerError):
    """The request came without a key, and the server asks for one."""

    def __init__(self) -> None:
        super().__init__("An API key is needed: send it in the header `Authorization: Bearer YOUR_API_KEY`.")


class IncorrectApiKey(ServerError):
    """The request came with a key that is unknown here; it is not shown, as it may be right elsewhere."""

    def __init__(self) -> None:
        super().__init__("Incorrect API key provided. Ask whoever runs this server for one.")


class TranscriptionCancelled(ServerError):
    """The job was cancelled while a client waited for its transcript."""

    def __init__(self) -> None:
        super().__init__("The transcription was cancelled before it was done.")


class ServerStopping(ServerError):
    """The api is told to stop while a client waits; the job itself goes on."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"The server is being restarted. The transcription goes on: fetch it at /v1/jobs/{job_id}."
        )


class SyncWaitOver(ServerError):
    """The job was not done within SYNC_WAIT_S; it goes on, and a client that wants it can fetch it."""

    def __init__(self, job_id: str, limit_s: float) -> None:
        super().__init__(
            f"The transcription is not done after {limit_s:g} s (SYNC_WAIT_S), the longest that a client may "
            f"wait here. It goes on: fetch it at /v1/jobs/{job_id}, or cancel it by DELETE there."
        )


class StreamInterrupted(ServerError):
    """The job was begun again while its text was streamed, and its text differs from what was sent."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            "The transcription had to be begun again, and its text differs now from what was sent. "
            f"It goes on: fetch it at /v1/jobs/{job_id}."
        )


class ClientLeft(Exception):
    """The client closed the connection: there is nobody to answer."""
