"""The claims of a worker: the room for jobs in its next batch, and the jobs claimed for it."""

from collections.abc import Iterable, Sequence

import structlog

from shared.jobs import Claim, Priority
from shared.record.claims import BatchRoom, Claimant, claim_jobs, count_rows
from shared.record.scripts import ScriptRunner
from shared.record.transitions import report_engine_crash
from worker.jobs.recorder import run_with_retries
from worker.jobs.transcription import Transcription
from worker.model.host import ModelHost


class WorkerClaims:
    """Claims jobs for a worker, as many as its model process takes in a batch."""

    def __init__(
        self, runner: ScriptRunner, claimant: Claimant, host: ModelHost, *, window_s: float, job_ttl_s: float
    ) -> None:
        self._runner = runner
        self._claimant = claimant
        self._host = host
        self._window_s = window_s
        self._job_ttl_s = job_ttl_s

    def claim_group(self) -> Sequence[Claim]:
        """Claim the first jobs in the queue, if there are any.

        Raises:
            QueueUnavailable: Redis does not answer. The next call returns the same claims.
        """
        return self._runner.run(claim_jobs(self._claimant, self._find_room(()))).claims

    def claim_companions(self, held: Sequence[Transcription]) -> Sequence[Claim]:
        """Claim jobs that share the next batches with the jobs held, and apply yields to these.

        Raises:
            QueueUnavailable: Redis does not answer. The next call returns the same claims.
        """
        room = self._find_room(held)
        if not room.interactive_rows and all(job.claim.priority is Priority.INTERACTIVE for job in held):
            return ()
        group = self._runner.run(claim_jobs(self._claimant, room, held=[job.claim for job in held]))
        for job, directive in zip(held, group.directives, strict=True):
            job.rules.state.apply(directive)
        return group.claims

    def report_crash(self, jobs: Sequence[Transcription]) -> None:
        """Report the death of the model process to the record, for all jobs in it that are not over."""
        crashed = [(job.claim, job.rules.clocks.inference_ms) for job in jobs]
        call = report_engine_crash(
            crashed, had_others=self._host.ended_with_dropped_runs, ttl_s=self._job_ttl_s
        )
        outcomes = run_with_retries(self._runner, call)
        for job, outcome in zip(jobs, outcomes, strict=True):
            with structlog.contextvars.bound_contextvars(job_id=job.claim.job_id):
                job.note_crash(outcome)

    def _find_room(self, held: Iterable[Transcription]) -> BatchRoom:
        """Return the free rows. A batch job gives way to interactive jobs, except for one row."""
        max_rows = interactive_rows = batch_rows = self._host.max_rows
        used_rows = 0
        for job in held:
            left_s = job.claim.upload.duration_s - job.processed_s
            rows = count_rows(left_s, self._window_s)
            used_rows += rows
            batch_rows -= rows
            interactive_rows -= rows if job.claim.priority is Priority.INTERACTIVE else 1
        # Else a model that does not load would soon fail every job in the queue.
        if self._host.has_failed_to_load:
            batch_rows = 0
        return BatchRoom(
            interactive_rows=max(0, interactive_rows),
            batch_rows=max(0, batch_rows),
            window_s=self._window_s,
            used_rows=min(used_rows, max_rows),
            max_rows=max_rows,
        )
