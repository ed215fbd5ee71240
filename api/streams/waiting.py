"""The synchronous call: wait until a job is done, and let go of it when the client leaves."""

import asyncio
from dataclasses import dataclass

from starlette.requests import Request

from api.client_presence import wait_for_disconnect
from api.errors.tree import (
    ClientDisconnected,
    JobNotFound,
    ServerStopping,
    SyncWaitOver,
    TranscriptionCancelled,
    TranscriptionFailed,
)
from api.streams.following import JobFollower
from api.streams.listener_leases import ListenerLeases
from shared.jobs import Job, JobState
from shared.record.listeners import drop_listener_lease
from shared.record.transitions import read_job


@dataclass(frozen=True, slots=True)
class _Waited:
    """Whether the job is over, and how it ended if it was still there to be read."""

    is_over: bool
    job: Job | None = None


class JobWaiting:
    """Waits for what becomes of jobs."""

    def __init__(self, follower: JobFollower, leases: ListenerLeases, *, sync_wait_s: float) -> None:
        self._follower = follower
        self._leases = leases
        self._sync_wait_s = sync_wait_s or None

    async def wait_for_success(self, job_id: str, request: Request, *, is_kept: bool) -> Job:
        """The job once it has succeeded, as long as the client of `request`, whose body is read, stays.

        Raises:
            ClientDisconnected: the client closed the connection; the job is cancelled, unless it `is_kept`.
            SyncWaitOver: it took longer than SYNC_WAIT_S; the job goes on.
            ServerError: what `read_success` raises.
        """
        try:
            waiting = await self._wait(job_id, request, within_s=self._sync_wait_s)
        except ClientDisconnected:
            if not is_kept:
                await self._leases.cancel(job_id)
            raise
        if self._sync_wait_s and not waiting.is_over:
            await self.keep(job_id)
            raise SyncWaitOver(job_id, self._sync_wait_s)
        return _find_success(job_id, waiting.job) if waiting.job else await self.read_success(job_id)

    async def keep(self, job_id: str) -> None:
        """Let the job go on without a listener, for an answer that promises so.

        Raises:
            QueueUnavailable: Redis has not answered for long.
        """
        await self._follower.run_patiently(drop_listener_lease(job_id))

    async def wait_for_end(self, job_id: str, request: Request, *, within_s: float | None) -> bool:
        """Wait until the job is final or gone, or the process stops; false where it takes longer than that.

        With None for `within_s` it may take any time.

        Raises:
            ClientDisconnected: the client of `request`, whose body is read, closed the connection; the job
            goes on. QueueUnavailable: Redis has not answered for long.
        """
        return (await self._wait(job_id, request, within_s=within_s)).is_over

    async def _wait(self, job_id: str, request: Request, *, within_s: float | None) -> "_Waited":
        waiting = asyncio.create_task(self._follower.follow_to_end(job_id))
        leaving = asyncio.create_task(wait_for_disconnect(request.receive))
        try:
            await asyncio.wait({waiting, leaving}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return _Waited(is_over=True, job=await waiting)
            if leaving.done():
                raise ClientDisconnected
            return _Waited(is_over=False)
        finally:
            waiting.cancel()
            leaving.cancel()

    async def read_success(self, job_id: str) -> Job:
        """The job, which has succeeded.

        Raises:
            TranscriptionFailed, TranscriptionCancelled: it ended otherwise.
            ServerStopping: it has not ended, which nobody waits for any more: the process is about to stop.
            JobNotFound: somebody deleted it.
            QueueUnavailable: Redis has not answered for long.
        """
        job = await self._follower.run_patiently(read_job(job_id))
        if job is not None and not job.state.is_final:
            await self.keep(job_id)
        return _find_success(job_id, job)


def _find_success(job_id: str, job: Job | None) -> Job:
    if job is None:
        raise JobNotFound(job_id)
    if job.failure is not None:
        raise TranscriptionFailed(job.failure)
    if job.state is JobState.CANCELLED:
        raise TranscriptionCancelled
    if not job.state.is_final:
        raise ServerStopping(job_id)
    return job
