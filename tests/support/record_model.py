"""The job record as a model in plain Python: the reply to each call, and the state after it."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from shared.jobs import Directive, JobState
from shared.record.transitions import MAX_ENGINE_CRASHES, MAX_WORKER_LOSSES

BATCH = 1
WINDOW_AUDIO_S = 4.0
ROW_S = 10.0
WINDOWS_UNTIL_BATCH = 9


@dataclass
class ModelJob:
    """One job. Its place is (class, start tag, number of its submit)."""

    place: tuple[int, int, int]
    key: str
    audio_s: float
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
    is_alone: bool = False
    had_companions: bool = False
    inference_ms: int = 0

    @property
    def cost(self) -> int:
        """What the job costs its key."""
        return max(1, math.ceil(self.audio_s))

    @property
    def rows(self) -> int:
        """The rows that the rest of the job fills."""
        return max(1, math.ceil((self.audio_s - self.processed_s) / ROW_S))

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
    held: dict[str, list[str]] = field(default_factory=dict)

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
        self.submitted += 1
        self.jobs[job_id] = job = ModelJob((job_class, start, self.submitted), key, audio_s)
        self.goes_on[job_class][key] = start + job.cost

    def claim(
        self, worker: str, held: Sequence[ModelClaim] = (), *, rows: tuple[int, int], turn_s: float
    ) -> tuple[list[ModelClaim], list[Directive]]:
        """The new claims of a worker that knows the `held` ones, and what it is told about these.

        `rows` are those that are free for interactive and for batch jobs.
        """
        directives = [self.direct(claim) for claim in held]
        group = [claim.job_id for claim in held if self.holder(claim)]
        granted: list[str] = []
        if max(rows) > 0:
            granted = [job_id for job_id in self.held.get(worker, []) if job_id not in group]
            granted = granted or self._claim_group(worker, group, [*rows])
        self._choose_yields(held, directives, turn_s=turn_s, is_group=len({*group, *granted}) > 1)
        return [ModelClaim(job_id, self.jobs[job_id].claim_no) for job_id in granted], directives

    def _choose_yields(
        self, held: Sequence[ModelClaim], directives: list[Directive], *, turn_s: float, is_group: bool
    ) -> None:
        is_alone_held = any(job.is_alone for claim in held if (job := self.holder(claim)))
        may_yield = [index for index, directive in enumerate(directives) if directive is Directive.GO_ON]
        may_yield = [index for index in may_yield if self.jobs[held[index].job_id].is_batch]
        may_yield.sort(key=lambda index: self.jobs[held[index].job_id].place, reverse=True)
        waiting = [self.jobs[job_id] for job_id in self.queue()]
        needed = sum(not job.is_batch for job in waiting)
        needed = min(needed, len(may_yield) - is_group)
        if any(job.is_alone for job in waiting) and not is_alone_held:
            needed = len(may_yield)
        needed_by_batch = sum(job.is_batch for job in waiting)
        for number, index in enumerate(may_yield):
            job = self.jobs[held[index].job_id]
            if number < needed:
                directives[index] = Directive.YIELD
            elif needed_by_batch and self._is_turn_over(job, turn_s):
                job.is_turn_over = True
                directives[index] = Directive.YIELD
                needed_by_batch -= 1

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

    def finish_window(self, claim: ModelClaim, window: int, *, inference_ms: int) -> Directive:
        """What a finished window is answered."""
        job = self.holder(claim)
        if job is None:
            return Directive.STALE
        job.inference_ms = max(job.inference_ms, inference_ms)
        if window >= job.windows:
            job.windows = window + 1
            if not job.is_batch and not job.is_counted_ahead and self._is_batch_waiting():
                self.windows_since_batch += 1
            job.is_counted_ahead = job.is_alone = False
        return self.direct(claim)

    def give_back(self, claim: ModelClaim, inference_ms: int) -> str:
        """What a yield is answered."""
        job = self.holder(claim)
        if job is None:
            return "stale"
        job.inference_ms = max(job.inference_ms, inference_ms)
        if job.is_turn_over:
            job.place = job.place_after_turn
        return self._queue_again(job)

    def crash(self, claims: Sequence[ModelClaim]) -> list[str]:
        """What the report of a crash is answered."""
        return [self._crash(claim, is_alone=len(claims) == 1) for claim in claims]

    def _crash(self, claim: ModelClaim, *, is_alone: bool) -> str:
        job = self.holder(claim)
        if job is None:
            return "stale"
        if not is_alone:
            return self._queue_alone(job)
        if not job.is_cancelled:
            job.crashes += 1
        return self._queue_again_or_fail(job, is_at_limit=job.crashes >= MAX_ENGINE_CRASHES)

    def lose(self, claim: ModelClaim) -> str:
        """What becomes of a job whose lease has expired."""
        job = self.jobs[claim.job_id]
        if job.had_companions:
            return self._queue_alone(job)
        if not job.is_cancelled:
            job.losses += 1
        return self._queue_again_or_fail(job, is_at_limit=job.losses >= MAX_WORKER_LOSSES)

    def finish(self, claim: ModelClaim, state: JobState, inference_ms: int) -> str:
        """What the end of a job is answered."""
        job = self.jobs.get(claim.job_id)
        if job and job.state.is_final and job.claim_no == claim.claim_no:
            return "cancelled" if job.state is JobState.CANCELLED else "already"
        if self.holder(claim) is None or job is None:
            return "stale"
        job.inference_ms = max(job.inference_ms, inference_ms)
        self._release(job, JobState.CANCELLED if job.is_cancelled else state)
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
            self._release(job, JobState.CANCELLED)
        elif before is JobState.RUNNING:
            job.is_cancelled = True
        return before

    def expire(self) -> set[str]:
        """The jobs that nobody has claimed, which fail."""
        expired = [job_id for job_id in self.jobs if self._is_unclaimed(job_id)]
        for job_id in expired:
            self._give_place_back(self.jobs[job_id])
            self._release(self.jobs[job_id], JobState.FAILED)
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

    def _claim_group(self, worker: str, group: list[str], rows: list[int]) -> list[str]:
        claimed: list[str] = []
        is_alone = any(self.jobs[job_id].is_alone for job_id in group)
        while not is_alone:
            job_id = self._choose_job(rows)
            if job_id is None:
                break
            job = self.jobs[job_id]
            is_alone = job.is_alone
            if is_alone and (group or claimed):
                break
            rows[0] -= 1 if job.is_batch else job.rows
            rows[1] -= job.rows
            self._take(job, worker)
            self.held.setdefault(worker, []).append(job_id)
            claimed.append(job_id)
        if claimed and len(group) + len(claimed) > 1:
            for job_id in [*group, *claimed]:
                self.jobs[job_id].had_companions = True
        return claimed

    def _choose_job(self, rows: Sequence[int]) -> str | None:
        waiting: list[list[str]] = [[], []]
        for job_id in self.queue():
            waiting[self.jobs[job_id].place[0]].append(job_id)
        is_turn = self.windows_since_batch >= WINDOWS_UNTIL_BATCH
        is_batch = rows[BATCH] > 0 and waiting[BATCH] and (is_turn or not waiting[0])
        job_class = BATCH if is_batch else 0
        if rows[job_class] < 1 or not waiting[job_class]:
            return None
        alone = [job_id for job_id in waiting[job_class] if self.jobs[job_id].is_alone]
        return (alone or waiting[job_class])[0]

    def _take(self, job: ModelJob, worker: str) -> None:
        job_class, start, _ = job.place
        job.state, job.owner = JobState.RUNNING, worker
        self.virtual_time[job_class] = max(self.virtual_time[job_class], start)
        if job.is_batch:
            self.windows_since_batch = max(0, self.windows_since_batch - WINDOWS_UNTIL_BATCH)
        job.is_counted_ahead = not job.is_batch and self._is_batch_waiting()
        self.windows_since_batch += job.is_counted_ahead
        job.is_turn_over = job.had_companions = False
        job.claim_no += 1
        job.turn_from_s = job.processed_s

    def _is_turn_over(self, job: ModelJob, turn_s: float) -> bool:
        is_over = turn_s and job.processed_s - job.turn_from_s >= turn_s
        waiting = [self.jobs[job_id] for job_id in self.queue()]
        return bool(is_over) and any(
            other.is_batch and other.place < job.place_after_turn for other in waiting
        )

    def _give_place_back(self, job: ModelJob) -> None:
        job_class, start, _ = job.place
        if self.goes_on[job_class].get(job.key) == start + job.cost:
            self.goes_on[job_class][job.key] = start

    def _queue_again_or_fail(self, job: ModelJob, *, is_at_limit: bool) -> str:
        if is_at_limit and not job.is_cancelled:
            self._release(job, JobState.FAILED)
            return "failed"
        return self._queue_again(job)

    def _queue_alone(self, job: ModelJob) -> str:
        job.is_alone = True
        return self._queue_again(job)

    def _queue_again(self, job: ModelJob) -> str:
        if job.is_cancelled:
            self._release(job, JobState.CANCELLED)
            return "cancelled"
        self._release(job, JobState.QUEUED)
        return "requeued"

    def _release(self, job: ModelJob, state: JobState) -> None:
        if job.owner:
            self.held[job.owner] = [held for held in self.held[job.owner] if self.jobs[held] is not job]
        job.state, job.owner = state, None
