"""The work that waits, the limits of the queue, and the one place where waits are estimated."""

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from shared.capabilities import ModelState

DEFAULT_SPEED = 1.0
"""Seconds of audio per second of inference that are assumed until the first window was measured."""

SHARED_OUT = 10
"""With several API keys, one part in so many of the server's limits is reserved and split between them."""

MIN_RETRY_S = 1
MAX_RETRY_S = 60
"""The bounds of Retry-After: less is useless, and some clients ignore more."""

_MS_PER_S = 1000

_WINDOW_MS = 30_000
"""The audio of a row, by the default of WINDOW_S. It only estimates the number of rows at once."""

_NEARNESS = {ModelState.LOADING: 1, ModelState.READY: 2, ModelState.BUSY: 3}


class AdmissionLimit(StrEnum):
    """A limit of the queue that a request can exceed."""

    UNFINISHED_JOBS_OF_KEY = "unfinished_jobs_of_key"  # one more job of the API key, queued or running
    QUEUED_AUDIO_OF_KEY = "queued_audio_of_key"  # more audio of the API key in the queue
    QUEUED_JOBS = "queued_jobs"  # one more job in the queue
    QUEUED_AUDIO = "queued_audio"  # more audio in the queue


class QueueLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """How much may wait, on the server and of one API key; None means any amount.

    While no audio is queued, one file is always admitted, even if it alone exceeds the limit. The limits of
    the server do not hold for a key within its share, nor for the first unfinished job of such a key.
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
    """Return the limits of a server with so many API keys, so that no key can fill the queue for all others.

    With several keys a tenth of each limit is kept free and split equally between them. A key is admitted
    within its share even if others have filled the rest. A share is at least one job, so the queue may exceed
    a limit below ten jobs per key by as many jobs as there are keys.
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


class _Worker(NamedTuple):
    takes_jobs: bool
    model: ModelState
    max_rows: int


class Backlog(msgspec.Struct, frozen=True):
    """Raw sums of the work that is left, on the server and of one API key.

    What is done of a job does not count. `first_ms` is the audio of the first queued jobs, one by one.
    `measured` has, by the rows in decoding at once, seconds of audio and of inference, summed over recent
    windows. The rows are rounded down to a power of two. `model_states` has three words for each live
    worker: `1` if it takes jobs, else `0`; the state of its model; the rows of its batches.
    """

    queued_jobs: int
    queued_ms: int
    running_ms: int
    unfinished_jobs_of_key: int = 0
    queued_of_key_ms: int = 0
    first_ms: tuple[int, ...] = ()
    running_jobs: int = 0
    measured: dict[int, tuple[float, float]] = msgspec.field(default_factory=dict)
    model_states: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def queued_audio_s(self) -> float:
        """Seconds of audio in the queue."""
        return self.queued_ms / _MS_PER_S

    @property
    def speed(self) -> float | None:
        """Seconds of audio that a worker does in a second of inference; None before the first window.

        It is the speed with the rows that the work fills, or with the nearest number that was measured.
        """
        if not self.measured:
            return None
        smaller = [rows for rows in self.measured if rows <= self._rows_at_once]
        audio_s, inference_s = self.measured[max(smaller, default=min(self.measured))]
        return audio_s / inference_s

    @property
    def workers(self) -> int:
        """The number of live workers that take jobs."""
        return len(self._takers)

    @property
    def wait_s(self) -> float:
        """Seconds until all work is done."""
        return self.estimate_wait_s(self.queued_ms + self.running_ms)

    def estimate_wait_s(self, audio_ms: float) -> float:
        """Return the seconds in which all workers do so much audio; without a worker, those of one worker."""
        return audio_ms / _MS_PER_S / ((self.speed or DEFAULT_SPEED) * max(self.workers, 1))

    def estimate_interactive_wait_s(self, ahead_jobs: int) -> float:
        """Return the least seconds until the job after the first `ahead_jobs` begins.

        Running jobs do not count, since a batch job makes room. The last jobs ahead may share a batch with
        the job. Jobs that were not summed count as the mean of the summed ones.
        """
        begun_jobs = ahead_jobs - sum(worker.max_rows - 1 for worker in self._takers)
        summed = self.first_ms[: max(begun_jobs, 0)]
        return self.estimate_wait_s(sum(summed) * begun_jobs / len(summed)) if summed else 0.0

    def estimate_eta_s(
        self,
        left_ms: int,
        position: int | None,
        *,
        is_interactive: bool = False,
        own_speed: float | None = None,
    ) -> float | None:
        """Return the seconds until a job with `left_ms` of audio is done, to one decimal.

        All workers share what is ahead of the job, and one worker does the job, beside as many rows of others
        as its batch has. An interactive job waits for one batch of the running jobs, since batch jobs make
        room. The result is None if no worker takes jobs or no speed was measured. `position` is
        None for a running job. With the `own_speed` that was measured in it, others do not count: it has all
        that they cost.
        """
        if own_speed and self.workers:
            return _round_s(left_ms / own_speed)
        if not self.workers or not (speed := self.speed):
            return None
        work_ms: float = left_ms
        if position is not None:
            batches_ms = _WINDOW_MS * self._rows_at_once * self.workers
            running_ms = min(self.running_ms, batches_ms) if is_interactive else self.running_ms
            work_ms += (running_ms + self._sum_ahead_ms(position)) / self.workers
        own_rows = max(left_ms / _WINDOW_MS, 1.0)
        beside_others_ms = left_ms * self._rows_at_once / own_rows
        return _round_s(max(work_ms, beside_others_ms) / speed)

    def _sum_ahead_ms(self, position: int) -> float:
        """Sum the audio of the first `position` jobs; beyond `first_ms` the mean of the rest counts."""
        summed = self.first_ms[:position]
        rest_ms = self.queued_ms - sum(self.first_ms)
        rest_jobs = max(self.queued_jobs - len(self.first_ms), 1)
        return sum(summed) + rest_ms * (position - len(summed)) / rest_jobs

    def find_model_state(self, owner: str | None) -> ModelState | None:
        """Return the state of the owner's model; without an owner, the state nearest to being loaded."""
        if owner is not None:
            return _parse_worker(own).model if (own := self.model_states.get(owner)) else None
        states = (worker.model for worker in self._takers)
        return max(states, key=lambda state: _NEARNESS.get(state, 0), default=None)

    @property
    def _takers(self) -> Sequence[_Worker]:
        return [worker for worker in map(_parse_worker, self.model_states.values()) if worker.takes_jobs]

    @property
    def _rows_at_once(self) -> int:
        """The rows that a worker decodes at once, if the work fills its batches as far as it can."""
        jobs, audio_ms = self.queued_jobs + self.running_jobs, self.queued_ms + self.running_ms
        rows = math.ceil(max(jobs, audio_ms / _WINDOW_MS) / max(self.workers, 1))
        return max(1, min(rows, max((worker.max_rows for worker in self._takers), default=1)))


def _round_s(time_ms: float) -> float:
    return math.floor(time_ms / 100 + 0.5) / 10


def _parse_worker(described: str) -> _Worker:
    takes_jobs, model, max_rows = described.split()
    return _Worker(takes_jobs == "1", ModelState(model), int(max_rows))


def estimate_room_s(
    limit: AdmissionLimit, backlog: Backlog, limits: QueueLimits, *, audio_s: float = 0.0
) -> float:
    """Return the seconds until there is room for `audio_s` more: until enough queued jobs have begun.

    The first queued job begins when a running one ends. So all of them but one of mean length must be done.
    """
    audio_ms = audio_s * _MS_PER_S
    mean_ms = backlog.queued_ms / max(backlog.queued_jobs, 1)
    match limit:
        case AdmissionLimit.QUEUED_JOBS:
            begun_ms = mean_ms * (backlog.queued_jobs + 1 - (limits.max_queued_jobs or 0))
        case AdmissionLimit.QUEUED_AUDIO:
            begun_ms = backlog.queued_ms + audio_ms - (limits.max_queued_audio_s or 0) * _MS_PER_S
        case AdmissionLimit.QUEUED_AUDIO_OF_KEY:
            allowed_ms = (limits.max_queued_audio_of_key_s or 0) * _MS_PER_S
            begun_ms = backlog.queued_of_key_ms + audio_ms - allowed_ms
        case AdmissionLimit.UNFINISHED_JOBS_OF_KEY:
            begun_ms = backlog.queued_of_key_ms / max(backlog.unfinished_jobs_of_key, 1)
    return backlog.estimate_wait_s(backlog.running_ms + max(begun_ms - mean_ms, 0.0))
