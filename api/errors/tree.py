"""The errors that only the api raises, except those of URLs; the package docstring draws the whole tree."""

import math
from collections.abc import Iterable

from shared.errors import InvalidRequest, QueueFull, ServerError
from shared.jobs import Failure, JobState
from shared.record.backlog import MAX_RETRY_S, MIN_RETRY_S


class UnsupportedValue(InvalidRequest):
    """A parameter has a value that OpenAI's API has and this server does not support."""


class AudioTooShort(InvalidRequest):
    """The upload has less audio than MIN_AUDIO_S."""

    def __init__(self, limit_s: float, *, param: str = "file") -> None:
        super().__init__(f"The audio is too short; the minimum is {limit_s:g} s (MIN_AUDIO_S).", param=param)


class MissingApiKey(ServerError):
    """The server requires an API key, and the request has none."""

    def __init__(self) -> None:
        super().__init__("An API key is required. Send it as `Authorization: Bearer YOUR_API_KEY`.")


class IncorrectApiKey(ServerError):
    """The API key of the request is unknown; the message omits it, as it may be valid elsewhere."""

    def __init__(self) -> None:
        super().__init__("Incorrect API key provided. Get a valid key from the operator of this server.")


class IncorrectStreamToken(ServerError):
    """The stream token of the request is unknown, expired, or for another job."""

    def __init__(self) -> None:
        super().__init__(
            "This token is invalid for the events of this job, or has expired. Get a new one from "
            "POST /v1/jobs/{id}/stream-token.",
            param="token",
        )


class ModelNotFound(ServerError):
    """No live worker serves the model of the request, and it is not an alias."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        listing = ", ".join(repr(model) for model in known)
        super().__init__(
            f"The model {name[:100]!r} does not exist. Use one of {listing}, or omit `model`.", param="model"
        )


class UploadStalled(ServerError):
    """The client stopped sending in the middle of the upload; the server stored none of it."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(
            f"The upload stalled: no data for {limit_s:g} s. The server stored none of it; send it again.",
            param="file",
        )


class UploadTooLarge(ServerError):
    """The upload has more bytes than MAX_UPLOAD_BYTES or the API key allows."""

    def __init__(self, limit_bytes: int, *, param: str = "file") -> None:
        super().__init__(
            f"The upload is larger than {limit_bytes} bytes, the limit set by MAX_UPLOAD_BYTES or for the "
            "API key. Compress the audio (flac, mp3, opus) or split it.",
            param=param,
        )


class QueueTooLong(ServerError):
    """The estimated queue wait clearly exceeds the time limit of the request; the server stored nothing."""

    def __init__(self, wait_s: float, limit_s: float, *, limit: str) -> None:
        super().__init__(
            f"The estimated queue wait ({math.ceil(wait_s)} s) exceeds this request's limit of {limit_s:g} s "
            f"({limit}). Retry later, raise the limit, or use POST /v1/jobs."
        )
        self.retry_after_s: int = min(max(math.ceil(wait_s - limit_s), MIN_RETRY_S), MAX_RETRY_S)


class TooManyStreams(ServerError):
    """The server or the API key has no free slot for another event stream; no job was created."""

    def __init__(self, limit: int, setting: str) -> None:
        super().__init__(
            f"Too many open event streams (limit {limit}, {setting}). Retry later, or poll "
            "GET /v1/jobs/{id}."
        )
        self.limit = setting


class NotReady(ServerError):
    """A readiness probe finds the queue full."""

    def __init__(self, full: QueueFull) -> None:
        super().__init__(full.message)
        self.retry_after_s: int = full.retry_after_s


class ModelUnavailable(ServerError):
    """A readiness probe finds that the load of the model has just failed; the next job loads it again."""


class NoWorker(ServerError):
    """No worker is alive that takes jobs, so the server knows no engine's capabilities."""

    def __init__(self) -> None:
        super().__init__("No worker is running, so the server cannot transcribe. Retry in a few seconds.")


class JobNotFound(ServerError):
    """No job has this id, or the job belongs to another API key."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id!r}. It may have been deleted or may have expired.")


class JobGone(ServerError):
    """The job ended longer than JOB_TTL_S ago and is deleted with its transcript."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"The job {job_id!r} and its transcript have expired (JOB_TTL_S). Send the audio again if you "
            "still need it."
        )


class JobUnfinished(ServerError):
    """The job has not ended, so it has no transcript yet."""

    def __init__(self, job_id: str, state: JobState, offer: str = "") -> None:
        super().__init__(
            f"The job is {state} and has no transcript yet. Follow /v1/jobs/{job_id}/events until it "
            f"succeeds.{offer}"
        )


class JobFailed(ServerError):
    """The job failed, so it has no transcript; the answer has the code of its `failure`."""

    def __init__(self, failure: Failure, offer: str = "") -> None:
        super().__init__(f"The job failed and has no transcript: {failure.message}{offer}")
        self.failure = failure


class TranscriptionFailed(ServerError):
    """The job failed while a client waited for it; the answer has the code of its `failure`."""

    def __init__(self, failure: Failure, offer: str = "") -> None:
        super().__init__(f"{failure.message}{offer}")
        self.failure = failure


class TranscriptionCancelled(ServerError):
    """The job was cancelled, so it has no transcript."""

    def __init__(self, offer: str = "") -> None:
        super().__init__(f"The transcription was cancelled before it was complete.{offer}")


class SyncWaitOver(ServerError):
    """The job took longer than SYNC_WAIT_S; it goes on and can be fetched."""

    def __init__(self, job_id: str, limit_s: float) -> None:
        super().__init__(
            f"The transcription took longer than {limit_s:g} s (SYNC_WAIT_S) and goes on. Fetch it at "
            f"/v1/jobs/{job_id}, or cancel it with DELETE there."
        )


class ServerStopping(ServerError):
    """The api process stops while a client waits; the job goes on."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"The server is stopping. The job is kept; fetch it at /v1/jobs/{job_id} after the next start."
        )


class StreamInterrupted(ServerError):
    """A second attempt of the job contradicts the text that was already streamed."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            "The transcription was restarted, and its text now differs from the streamed text. It goes on; "
            f"fetch it at /v1/jobs/{job_id}."
        )


class ClientDisconnected(Exception):
    """The client closed the connection before it got an answer."""
