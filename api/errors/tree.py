"""The errors that only the api raises; they belong to the tree drawn in `shared/errors.py`."""

import math
from collections.abc import Iterable
from enum import Enum

from shared.errors import InvalidRequest, ServerError
from shared.jobs import Failure, JobState
from shared.record.backlog import MAX_RETRY_S, MIN_RETRY_S


class ModelNotFound(ServerError):
    """The request names a model that no live worker serves, and no alias; `known` are all there are."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        listing = ", ".join(repr(model) for model in known)
        super().__init__(
            f"The model {name[:100]!r} does not exist here; those that do are {listing}. "
            "To transcribe, `model` may also be left out.",
            param="model",
        )


class UnsupportedValue(InvalidRequest):
    """A parameter has a value that OpenAI knows and this server does not serve."""


class Refusal(Enum):
    """Why a URL is not asked. Clients are not told which of the last two it was."""

    MALFORMED = "malformed"  # no URL, or one without a host, or far too long
    SCHEME = "scheme"  # neither http nor https
    CREDENTIALS = "credentials"  # a name or password in it
    PORT = "port"  # a port of something that is no web server
    PRIVATE = "private"  # an address of its host is not public
    UNRESOLVED = "unresolved"  # its host has no address, or has none just now


_NOT_PUBLIC = (
    "its host is unknown here, or has an address that is not public. Send the URL of a server in the "
    "internet, or have private addresses allowed (ALLOW_PRIVATE_ADDRESSES)"
)
_REFUSED = {
    Refusal.MALFORMED: "it is no complete URL. Send one such as https://example.com/path",
    Refusal.SCHEME: "it must begin with http:// or https://",
    Refusal.CREDENTIALS: "it holds a user name or password. Leave them out",
    Refusal.PORT: "its port may not be asked. Use 80, 443 or one from 1024 on",
    Refusal.PRIVATE: _NOT_PUBLIC,
    Refusal.UNRESOLVED: _NOT_PUBLIC,
}


class UrlRefused(InvalidRequest):
    """A URL is not asked, for what is written in it or for its host's addresses; `reason` is for logs."""

    def __init__(self, reason: Refusal, *, param: str) -> None:
        super().__init__(f"The {param} cannot be used: {_REFUSED[reason]}.", param=param)
        self.reason = reason


class UrlInputOff(InvalidRequest):
    """The request names a URL instead of sending audio, and URL_INPUT is off."""

    def __init__(self) -> None:
        super().__init__(
            "This server fetches no audio (URL_INPUT is off): send it in a part named `file`.", param="url"
        )


class UrlUnreachable(InvalidRequest):
    """No connection to the server of a URL could be made."""

    def __init__(self) -> None:
        super().__init__(
            "The server of the url cannot be reached, or has no valid certificate: check the url, or send "
            "the audio in a part named `file`.",
            param="url",
        )


class UrlFailed(InvalidRequest):
    """The server of a URL was reached, but did not give the audio."""

    def __init__(self, fault: str) -> None:
        super().__init__(
            f"The audio could not be fetched from the url: {fault}. Check the url, or send the audio in a "
            "part named `file`.",
            param="url",
        )


class MissingApiKey(ServerError):
    """The request came without a key, and the server asks for one."""

    def __init__(self) -> None:
        super().__init__("An API key is needed: send it in the header `Authorization: Bearer YOUR_API_KEY`.")


class IncorrectApiKey(ServerError):
    """The request came with a key that is unknown here; it is not shown, as it may be right elsewhere."""

    def __init__(self) -> None:
        super().__init__("Incorrect API key provided. Ask whoever runs this server for one.")


class IncorrectStreamToken(ServerError):
    """The request came with a stream token that does not open the events of this job, or no longer."""

    def __init__(self) -> None:
        super().__init__(
            "This token opens no events of this job, or not any more: get a new one by "
            "POST /v1/jobs/{id}/stream-token.",
            param="token",
        )


class QueueTooLong(ServerError):
    """The request would not be begun while somebody waits for its answer; nothing was kept."""

    def __init__(self, wait_s: float, limit_s: float) -> None:
        super().__init__(
            f"Others come first, for about {math.ceil(wait_s)} s, and this request has {limit_s:g} s in all "
            "(the timeout of the client, or SYNC_WAIT_S): try again later, allow more time, or send it to "
            "/v1/jobs, where nobody has to wait for the answer."
        )
        self.retry_after_s = min(max(math.ceil(wait_s - limit_s), MIN_RETRY_S), MAX_RETRY_S)
        """Seconds until it would be in time, as far as can be told, within what clients obey."""


class TooManyStreams(ServerError):
    """As many event streams are open as may be, in all or for the API key; nothing was begun."""

    def __init__(self, limit: int, setting: str) -> None:
        super().__init__(
            f"{limit} event streams are open already, which is all there may be ({setting}): try again when "
            "one has ended, or ask for the job now and then at /v1/jobs/{id}."
        )


class TooManyFetches(ServerError):
    """As much audio is fetched from URLs as may be at once, in all or for the API key; this was not."""

    def __init__(self, limit: int, setting: str) -> None:
        super().__init__(
            f"Audio is fetched from {limit} URLs already, which is all there may be at once ({setting}): try "
            "again when one of them is done, or send the audio in a part named `file`.",
            param="url",
        )


class TranscriptionCancelled(ServerError):
    """The job was cancelled while a client waited for its transcript."""

    def __init__(self) -> None:
        super().__init__("The transcription was cancelled before it was done.")


class JobUnfinished(ServerError):
    """The transcript of a job is asked for before there is one."""

    def __init__(self, job_id: str, state: JobState) -> None:
        super().__init__(
            f"The job is {state}, and its transcript can be fetched when it has succeeded: the events of "
            f"/v1/jobs/{job_id}/events tell when."
        )


class JobFailed(ServerError):
    """The transcript of a job is asked for that failed; answered with the code of its `failure`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"The job failed, so there is no transcript: {failure.message}")
        self.failure = failure


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


class ClientDisconnected(Exception):
    """The client closed the connection: there is nobody to answer."""
