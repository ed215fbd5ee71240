"""The one tree of errors that a client may be told of; HTTP codes are in `api/errors/answers.py` alone.

ServerError
├── InvalidRequest          a parameter is wrong
│   ├── UnreadableAudio     the upload is no audio that the decoder can read
│   ├── AudioTooShort       less audio than MIN_AUDIO_S
│   └── AudioTooLong        more audio than MAX_AUDIO_S or the API key allows
├── UploadStalled           nothing more of the upload came for long
├── UploadTooLarge          more bytes than MAX_UPLOAD_BYTES or the API key allows
├── StorageFull             no room for the upload
├── JobNotFound             no such job
├── JobGone                 the job was kept for JOB_TTL_S, and is no longer
├── QueueFull               no room in the queue, of the server or of the API key
├── NotReady                the same, said by a probe
├── IdempotencyKeyReused    an idempotency key came again with another request
├── QueueUnavailable        Redis does not answer
├── NoWorker                no worker is alive
├── MediaServiceDown        the sandboxed decoder could not be started
└── TranscriptionFailed     the job ended as failed
    └── TranscriptionTimedOut
"""

import math

from shared.jobs import Failure, FailureCode
from shared.record.backlog import MAX_RETRY_S, MIN_RETRY_S, AdmissionLimit, QueueLimits

_EXCEEDED = {
    AdmissionLimit.UNFINISHED_JOBS_OF_KEY: (
        "This API key has {limits.max_unfinished_jobs_of_key} unfinished jobs, "
        "which is all it may have: wait until one of them is done, or delete one."
    ),
    AdmissionLimit.QUEUED_AUDIO_OF_KEY: (
        "With this file, more than {limits.max_queued_audio_of_key_s:g} s of audio of "
        "this API key would wait, which is more than may: try again when some of it is done, or delete a job."
    ),
    AdmissionLimit.QUEUED_JOBS: (
        "The queue is full: {limits.max_queued_jobs} jobs wait, the limit set by "
        "MAX_QUEUED_JOBS. Try again when some of them are done."
    ),
    AdmissionLimit.QUEUED_AUDIO: (
        "The queue is full: with this file, more than {limits.max_queued_audio_s:g} s of "
        "audio would wait, the limit set by MAX_QUEUED_AUDIO_S. Try again when some of it is done."
    ),
}

_SHARED = " Some room is kept for API keys with few unfinished jobs."


class ServerError(Exception):
    """Base of all errors whose message is meant for clients: it says what to do."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class InvalidRequest(ServerError):
    """A parameter of the request is wrong; `param` names it."""


class UnreadableAudio(InvalidRequest):
    """The upload is no audio that the decoder can read, or has no sound in it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, param="file")


class AudioTooShort(InvalidRequest):
    """The upload holds less audio than MIN_AUDIO_S."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(
            f"The audio is too short: it takes at least {limit_s:g} s for anything to be said.", param="file"
        )


class AudioTooLong(InvalidRequest):
    """The upload holds more audio than MAX_AUDIO_S or the API key allows."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(
            f"The audio is longer than {limit_s:g} s, the limit set by MAX_AUDIO_S or for the API key: "
            "send it in shorter files, or have the limit raised.",
            param="file",
        )


class UploadStalled(ServerError):
    """Nothing more of the upload came for long, though it was not complete."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(
            f"Nothing more of this upload came for {limit_s:g} s, and nothing was kept: send it again.",
            param="file",
        )


class UploadTooLarge(ServerError):
    """The upload has more bytes than MAX_UPLOAD_BYTES or the API key allows."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"The upload is larger than {limit_bytes} bytes, the limit set by MAX_UPLOAD_BYTES or for the "
            "API key: compress the audio (flac, mp3, opus), split it, or have the limit raised.",
            param="file",
        )


class StorageFull(ServerError):
    """There is no room left for the upload; nothing of it was kept."""

    def __init__(self) -> None:
        super().__init__("The server has no room to store this upload; nothing was kept. Try again later.")


class JobNotFound(ServerError):
    """There is no job of this id, or no longer."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id!r}; it may have been deleted or have expired.")


class JobGone(ServerError):
    """The job ended, was kept for JOB_TTL_S and is there no longer, nor is its transcript."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"The job {job_id!r} is gone with its transcript: finished jobs are kept for JOB_TTL_S. Send the "
            "audio again if you still need it."
        )


class QueueFull(ServerError):
    """There is no room in the queue for more, of the server or of the API key."""

    def __init__(self, limit: AdmissionLimit, limits: QueueLimits, room_s: float) -> None:
        is_shared = limits.has_shares and limit in (AdmissionLimit.QUEUED_JOBS, AdmissionLimit.QUEUED_AUDIO)
        super().__init__(_EXCEEDED[limit].format(limits=limits) + (_SHARED if is_shared else ""))
        self.limit = limit
        self.retry_after_s = min(max(math.ceil(room_s), MIN_RETRY_S), MAX_RETRY_S)
        """Seconds until there is room again, as far as can be told, within what clients obey."""


class NotReady(ServerError):
    """A probe asks, and the queue is full."""

    def __init__(self, full: QueueFull) -> None:
        super().__init__(full.message)
        self.retry_after_s = full.retry_after_s


class IdempotencyKeyReused(ServerError):
    """An idempotency key came again with another request than the first time."""

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was sent before with another request: other audio, other fields, or to "
            "another address. Send a new key for each new request.",
            param="Idempotency-Key",
        )


class QueueUnavailable(ServerError):
    """Redis does not answer, so nothing can be accepted or looked up."""

    def __init__(self) -> None:
        super().__init__("The job queue does not answer. Try again in a few seconds.")


class NoWorker(ServerError):
    """No worker is alive to say what it can do, let alone do it."""

    def __init__(self) -> None:
        super().__init__("No worker is running, so nothing can be transcribed. Try again in a few seconds.")


class MediaServiceDown(ServerError):
    """The sandboxed decoder could not be started or did not answer in time."""

    def __init__(self) -> None:
        super().__init__("The audio could not be examined just now. Try again in a few seconds.")


class TranscriptionFailed(ServerError):
    """The job ended as failed; carries the failure of the job record."""

    def __init__(self, job_id: str, failure: Failure) -> None:
        super().__init__(failure.message)
        self.job_id = job_id
        self.failure = failure


class TranscriptionTimedOut(TranscriptionFailed):
    """Inference took longer than the job's deadline."""


def failure_error(job_id: str, failure: Failure) -> TranscriptionFailed:
    """The error that tells a waiting client of `failure`."""
    if failure.code is FailureCode.TIMEOUT:
        return TranscriptionTimedOut(job_id, failure)
    return TranscriptionFailed(job_id, failure)
