"""How much work waits, how fast it is done, and how long that takes."""

from enum import StrEnum

import msgspec

DEFAULT_SPEED = 1.0
"""Seconds of audio per second of inference that are assumed until the first window was measured."""

SHARED_OUT = 10
"""With several API keys, the part of the server's limits that is shared out among them: one in so many."""

MIN_RETRY_S = 1
MAX_RETRY_S = 60
"""The bounds of what a client is told to wait: less is no use, and more is not obeyed by all of them."""


class AdmissionLimit(StrEnum):
    """What there is no room for."""

    UNFINISHED_JOBS_OF_KEY = "unfinished_jobs_of_key"  # one more job of the API key, queued or running
    QUEUED_AUDIO_OF_KEY = "queued_audio_of_key"  # more audio of the API key in the queue
    QUEUED_JOBS = "queued_jobs"  # one more job in the queue
    QUEUED_AUDIO = "queued_audio"  # more audio in the queue


class QueueLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """How much may wait, on the server and of one API key; None is: any amount.

    Where no audio is queued, one file is always taken, even if it alone is longer than the limit. The limits
    of the server do not hold for what stays within the share of its key, where there is one, nor do they for
    the first unfinished job of such a key.
    """

    max_queued_jobs: int | None = None
    max_queued_audio_s: float | None = None
    max_unfinished_jobs_of_key: int | None = None
    max_queued_audio_of_key_s: float | None = None
    jobs_in_share_of_key: int | None = None  # unfinished ones
    audio_in_share_of_key_s: float | None = None  # in the queue

    @property
    def has_shares(self) -> bool:
        """Whether API keys have shares of the queue."""
        return (self.jobs_in_share_of_key, self.audio_in_share_of_key_s) != (None, None)


def keep_shares(limits: QueueLimits, *, keys: int) -> QueueLimits:
    """The same limits on a server with so many API keys: none of them can fill the queue for all others.

    With several keys a tenth of each limit is kept free, and is shared out among them equally: what a key has
    within its share is taken in even if others have filled the rest. A share is one job at least, so a queue
    of fewer jobs than ten for each key may be passed by as many as there are keys.
    """
    if keys <= 1:
        return limits
    jobs, audio_s = limits.max_queued_jobs, limits.max_queued_audio_s
    return msgspec.structs.replace(
        limits,
        max_queued_jobs=None if jobs is None else jobs - jobs // SHARED_OUT,
        max_queued_audio_s=None if audio_s is None else audio_s - audio_s / SHARED_OUT,
        jobs_in_share_of_key=None if jobs is None else max(jobs // SHARED_OUT // keys, 1),
        audio_in_share_of_key_s=None if audio_s is None else audio_s / SHARED_OUT / keys,
    )


class Backlog(msgspec.Struct, frozen=True):
    """The work that is left, on the server and of one API key; what is finished of a job does not count.

    `measured_speed` is the seconds of audio that a worker does in a second of inference, a mean over the
    windows of late; None before the first.
    """

    queued_jobs: int
    queued_audio_s: float
    running_audio_s: float
    unfinished_jobs_of_key: int
    queued_audio_of_key_s: float
    measured_speed: float | None
    workers: int

    @property
    def speed(self) -> float:
        """The measured speed, or DEFAULT_SPEED before there is one."""
        return self.measured_speed or DEFAULT_SPEED

    @property
    def wait_s(self) -> float:
        """Seconds until all of the work is done."""
        return estimate_wait_s(self.queued_audio_s + self.running_audio_s, self.speed, self.workers)


def estimate_wait_s(backlog_s: float, speed: float, workers: int) -> float:
    """Seconds in which so many workers do `backlog_s` seconds of audio, each `speed` of them in a second.

    Without a worker it is what one would need.
    """
    return backlog_s / (speed * max(workers, 1))


def estimate_room_s(
    limit: AdmissionLimit, backlog: Backlog, limits: QueueLimits, *, audio_s: float = 0.0
) -> float:
    """Seconds until there is room for `audio_s` more: until enough of what is queued has been begun.

    The first job is begun when a running one ends, so all but one of mean length has to be done by then.
    """
    mean_s = backlog.queued_audio_s / max(backlog.queued_jobs, 1)
    match limit:
        case AdmissionLimit.QUEUED_JOBS:
            begun_s = mean_s * (backlog.queued_jobs + 1 - (limits.max_queued_jobs or 0))
        case AdmissionLimit.QUEUED_AUDIO:
            begun_s = backlog.queued_audio_s + audio_s - (limits.max_queued_audio_s or 0)
        case AdmissionLimit.QUEUED_AUDIO_OF_KEY:
            begun_s = backlog.queued_audio_of_key_s + audio_s - (limits.max_queued_audio_of_key_s or 0)
        case AdmissionLimit.UNFINISHED_JOBS_OF_KEY:
            begun_s = backlog.queued_audio_of_key_s / max(backlog.unfinished_jobs_of_key, 1)
    ahead_s = backlog.running_audio_s + max(begun_s - mean_s, 0.0)
    return estimate_wait_s(ahead_s, backlog.speed, backlog.workers)
