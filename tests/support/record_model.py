"""The job record as a model in plain Python: the reply to each call, and the state after it."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field

from shared.jobs import Directive, JobState
from shared.record.transitions import MAX_ENGINE_CRASHES, MAX_WORKER_LOSSES

BATCH = 1
WINDOW_AUDIO_S = 4.0


@dataclass
class ModelJob:
    """One job. Its place is (class, start tag, number of its submit)."""

    place: tuple[int, int, int]
    key: str
    cost: int
    state: JobState = JobState.QUEUED
    claim_no: int = 0
    owner: str | None = None
    is_cancelled: bool = False
    losses: int = 0
    crashes: int = 0
    windows: int = 0
    turn_from_s: float = 0.0
    is_turn_over: bool = False
    is_counted_ahead: bool = False
    inference_ms: int = 0

    @property
    def is_batch(self) -> bool:
        """Whether the job is of the class that is served last."""
        return self.place[0] == BATCH

    @property
    def processed_s(self) -> float:
        """The audio that is done."""
        return self.windows * WINDOW_AUDIO_S

    @property
    def place_after_turn(self) -> tuple[int, int, int]:
        """The place behind what it was served in this turn."""
        job_class, start, number = self.place
        return job_class, start + math.floor(self.processed_s - self.turn_from_s), number


@dataclass(frozen=True)
class ModelClaim:
    """A worker's claim, of now or of earlier."""

    job_id: str
    claim_no: int


@dataclass
class RecordModel:
    """All jobs, and the order in which they are served."""

    jobs: dict[str, ModelJob] = field(default_factory=dict)
    submitted: int = 0
    virtual_time: list[int] = field(default_factory=lambda: [0, 0])
    goes_on: list[dict[str, int]] = field(default_factory=lambda: [{}, {}])
    windows_since_batch: int = 0

    def queue(self) -> list[str]:
        """The queued jobs, the first first."""
        queued = [job_id for job_id, job in self.jobs.items() if job.state is JobState.QUEUED]
        return sorted(queued, key=lambda job_id: self.jobs[job_id].place)

    def list_jobs(self, key: str | None, states: Collection[JobState]) -> list[str]:
        """The jobs of a key or all, the newest first, those in one of the states or in any."""
        return [
            job_id
            for job_id, job in reversed(self.jobs.items())
            if key in (None, job.key) and (not states or job.state in states)
        ]

    def submit(self, job_id: str, key: str, job_class: int, audio_s: float) -> None:
        """Queue a new job."""
        if not any(job.place[0] == job_class for job in self.jobs.values() if not job.state.is_final):
            self.goes_on[job_class] = {}
        start = max(self.virtual_time[job_class], self.goes_on[job_class].get(key, 0))
        cost = max(1, math.ceil(audio_s))
        self.goes_on[job_class][key] = start + cost
        self.submitted += 1
        self.jobs[job_id] = ModelJob((job_class, start, self.submitted), key, cost)

    def claim(self, worker: str) -> ModelClaim | None:
        """What a worker gets."""
        for job_id, job in self.jobs.items():
            if job.owner == worker:
                return ModelClaim(job_id, job.claim_no)
        queue = self.queue()
        batch = [job_id for job_id in queue if self.jobs[job_id].is_batch]
        if not queue:
            return None
        job_id = batch[0] if batch and self.windows_since_batch >= 9 else queue[0]
        job = self.jobs[job_id]
        job_class, start, _ = job.place
        self.virtual_time[job_class] = max(self.virtual_time[job_class], start)
        if job.is_batch:
            self.windows_since_batch = max(0, self.windows_since_batch - 9)
        job.is_counted_ahead = not job.is_batch and self._is_batch_waiting()
        self.windows_since_batch += job.is_counted_ahead
        job.is_turn_over = False
        job.state, job.owner = JobState.RUNNING, worker
        job.claim_no += 1
        job.turn_from_s = job.processed_s
        return ModelClaim(job_id, job.claim_no)

    def holder(self, claim: ModelClaim) -> ModelJob | None:
        """The job, if the claim on it is the one that counts."""
        job = self.jobs.get(claim.job_id)
        is_held = job and job.state is JobState.RUNNING and job.claim_no == claim.claim_no
        return job if is_held else None

    def direct(self, claim: ModelClaim) -> Directive:
        """What a beat or an event is answered."""
        job = self.holder(claim)
        if job is None:
            return Directive.STALE
        return Directive.CANCEL if job.is_cancelled else Directive.GO_ON

    def finish_window(self, claim: ModelClaim, window: int, *, turn_s: float, inference_ms: int) -> Directive:
        """What a finished window is answered."""
        job = self.holder(claim)
        if job is None:
            return Directive.STALE
        job.inference_ms = max(job.inference_ms, inference_ms)
        if window >= job.windows:
            job.windows = window + 1
            if not job.is_batch and not job.is_counted_ahead and self._is_batch_waiting():
                self.windows_since_batch += 1
            job.is_counted_ahead = False
        return self._direct_at_window(job, turn_s)

    def give_back(self, claim: ModelClaim, inference_ms: int) -> str:
        """What a yield is answered."""
        job = self.holder(claim)
        if job is None:
            return "stale"
        job.inference_ms = max(job.inference_ms, inference_ms)
        if job.is_turn_over:
            job.place = job.place_after_turn
        return self._queue_again(job)

    def crash(self, claim: ModelClaim) -> str:
        """What the report of a crash is answered."""
        job = self.holder(claim)
        if job is None:
            return "stale"
        if not job.is_cancelled:
            job.crashes += 1
        return self._queue_again_or_fail(job, is_at_limit=job.crashes >= MAX_ENGINE_CRASHES)

    def lose(self, claim: ModelClaim) -> str:
        """What becomes of a job whose lease has expired."""
        job = self.jobs[claim.job_id]
        if not job.is_cancelled:
            job.losses += 1
        return self._queue_again_or_fail(job, is_at_limit=job.losses >= MAX_WORKER_LOSSES)

    def finish(self, claim: ModelClaim, state: JobState) -> str:
        """What the end of a job is answered."""
        job = self.jobs.get(claim.job_id)
        if job and job.state.is_final and job.claim_no == claim.claim_no:
            return "cancelled" if job.state is JobState.CANCELLED else "already"
        if self.holder(claim) is None or job is None:
            return "stale"
        self._close(job, JobState.CANCELLED if job.is_cancelled else state)
        return "cancelled" if job.state is JobState.CANCELLED else "finished"

    def cancel(self, job_id: str) -> JobState | None:
        """The state that a job is in when it is cancelled."""
        job = self.jobs.get(job_id)
        if job is None:
            return None
        before = job.state
        if before is JobState.QUEUED:
            if job.claim_no == 0:
                self._give_place_back(job)
            self._close(job, JobState.CANCELLED)
        elif before is JobState.RUNNING:
            job.is_cancelled = True
        return before

    def expire(self) -> set[str]:
        """The jobs that nobody has claimed, which fail."""
        expired = [job_id for job_id in self.jobs if self._is_unclaimed(job_id)]
        for job_id in expired:
            self._give_place_back(self.jobs[job_id])
            self._close(self.jobs[job_id], JobState.FAILED)
        return set(expired)

    def delete(self, job_id: str) -> bool:
        """Whether a job was deleted."""
        job = self.jobs.get(job_id)
        if job is None or not job.state.is_final:
            return False
        del self.jobs[job_id]
        return True

    def _is_batch_waiting(self) -> bool:
        return any(self.jobs[job_id].is_batch for job_id in self.queue())

    def _is_unclaimed(self, job_id: str) -> bool:
        job = self.jobs[job_id]
        return job.state is JobState.QUEUED and job.claim_no == 0

    def _direct_at_window(self, job: ModelJob, turn_s: float) -> Directive:
        if job.is_cancelled:
            return Directive.CANCEL
        waiting = [self.jobs[job_id] for job_id in self.queue()]
        if not job.is_batch:
            return Directive.GO_ON
        if any(not other.is_batch for other in waiting):
            return Directive.YIELD
        served_s = job.processed_s - job.turn_from_s
        is_over = turn_s and served_s >= turn_s
        if is_over and any(other.place < job.place_after_turn for other in waiting):
            job.is_turn_over = True
            return Directive.YIELD
        return Directive.GO_ON

    def _give_place_back(self, job: ModelJob) -> None:
        job_class, start, _ = job.place
        if self.goes_on[job_class].get(job.key) == start + job.cost:
            self.goes_on[job_class][job.key] = start

    def _queue_again_or_fail(self, job: ModelJob, *, is_at_limit: bool) -> str:
        if is_at_limit and not job.is_cancelled:
            self._close(job, JobState.FAILED)
            return "failed"
        return self._queue_again(job)

    def _queue_again(self, job: ModelJob) -> str:
        if job.is_cancelled:
            self._close(job, JobState.CANCELLED)
            return "cancelled"
        job.state, job.owner = JobState.QUEUED, None
        return "requeued"

    def _close(self, job: ModelJob, state: JobState) -> None:
        job.state, job.owner = state, None
