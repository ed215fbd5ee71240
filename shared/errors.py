"""Errors for clients that shared code raises; `api/errors/__init__.py` draws the whole tree.

Classes say what went wrong. The api alone knows their HTTP statuses and codes.
"""

import math

from shared.record.backlog import MAX_RETRY_S, MIN_RETRY_S, AdmissionLimit, QueueLimits

_EXCEEDED = {
    AdmissionLimit.UNFINISHED_JOBS_OF_KEY: (
        "This API key is at its limit of {limits.max_unfinished_jobs_of_key} unfinished jobs. Delete one, or "
        "retry in {retry_s} s."
    ),
    AdmissionLimit.QUEUED_AUDIO_OF_KEY: (
        "With this file, this API key would have more than its limit of "
        "{limits.max_queued_audio_of_key_s:g} s of audio in the queue. Delete a job, or retry in {retry_s} s."
    ),
    AdmissionLimit.QUEUED_JOBS: (
        "The queue is at its limit of {limits.max_queued_jobs} waiting jobs (MAX_QUEUED_JOBS). Retry in "
        "{retry_s} s."
    ),
    AdmissionLimit.QUEUED_AUDIO: (
        "The queue is full: with this file, more than {limits.max_queued_audio_s:g} s of audio would wait "
        "(MAX_QUEUED_AUDIO_S). Retry in {retry_s} s."
    ),
}

_SHARED = " A part of the queue is reserved for API keys with few unfinished jobs."


class ServerError(Exception):
    """The base of all errors whose `message` goes to clients; `param` names the parameter at fault."""

    retry_after_s: int | None = None
    """Seconds until a retry may succeed, where that can be estimated."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class InvalidRequest(ServerError):
    """A parameter of the request is wrong; `param` names it."""


class UnreadableAudio(InvalidRequest):
    """The decoder cannot read the upload, or the upload has no sound."""

    def __init__(self, message: str, *, param: str = "file") -> None:
        super().__init__(message, param=param)


class AudioTooLong(InvalidRequest):
    """The upload has more audio than MAX_AUDIO_S or the API key allows."""

    def __init__(self, limit_s: float, *, param: str = "file", limit: str = "MAX_AUDIO_S") -> None:
        super().__init__(
            f"The audio is longer than {limit_s:g} s, the limit set by {limit}. Split it into shorter files.",
            param=param,
        )


class StorageFull(ServerError):
    """The disk has no space for the upload; no part of it was stored."""

    def __init__(self) -> None:
        super().__init__("The server has no disk space for this upload, and stored none of it. Retry later.")


class QueueFull(ServerError):
    """The queue has no room for another job, by a limit of the server or of the API key."""

    def __init__(self, limit: AdmissionLimit, limits: QueueLimits, room_s: float) -> None:
        is_shared = limits.has_shares and limit in (AdmissionLimit.QUEUED_JOBS, AdmissionLimit.QUEUED_AUDIO)
        retry_s = min(max(math.ceil(room_s), MIN_RETRY_S), MAX_RETRY_S)
        message = _EXCEEDED[limit].format(limits=limits, retry_s=retry_s)
        super().__init__(message + (_SHARED if is_shared else ""))
        self.limit = limit
        self.retry_after_s: int = retry_s


class IdempotencyKeyReused(ServerError):
    """An earlier request with the same idempotency key was a different one."""

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was used for a different request (other audio, fields or endpoint). "
            "Use a new key for each new request.",
            param="Idempotency-Key",
        )


class QueueUnavailable(ServerError):
    """Redis does not answer, so the server can neither accept nor look up a job."""

    def __init__(self) -> None:
        super().__init__("The job queue does not answer. Retry in a few seconds.")


class MediaServiceDown(ServerError):
    """The sandboxed decoder did not start, or did not answer in time."""

    def __init__(self) -> None:
        super().__init__("The server could not examine the audio. Retry in a few seconds.")
