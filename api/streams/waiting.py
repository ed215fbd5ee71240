"""The wait of a synchronous call for the end of its job."""

import asyncio
from contextlib import suppress

from starlette.requests import Request

from api.access.client_presence import run_while_connected
from api.access.record_reader import RecordReader
from api.errors import tree
from api.streams.following import JobFollower
from api.streams.listener_leases import ListenerLeases
from shared.jobs import Job, JobState
from shared.record.listeners import drop_listener_lease
from shared.record.readings import find_job


class JobWaiting:
    """Waits for jobs on behalf of connected clients."""

    def __init__(
        self, follower: JobFollower, reader: RecordReader, leases: ListenerLeases, *, sync_wait_s: float
    ) -> None:
        self._follower = follower
        self._reader = reader
        self._leases = leases
        self._sync_wait_s = sync_wait_s

    async def wait_for_success(self, job_id: str, request: Request, *, is_new: bool, is_kept: bool) -> Job:
        """Return the job once it has succeeded. The body of `request` has been read before.

        It `is_new` if this process has just submitted it.

        Raises:
            ClientDisconnected: the client closed the connection. The job is cancelled, unless it `is_kept`.
            SyncWaitOver: the wait took longer than SYNC_WAIT_S. The job goes on.
            ServerError: see `read_success`.
        """
        try:
            async with asyncio.timeout(self._sync_wait_s or None):
                job = await run_while_connected(request, self._follower.follow_to_end(job_id, is_new=is_new))
        except tree.ClientDisconnected:
            if not is_kept:
                await self._leases.cancel(job_id)
            raise
        except TimeoutError:
            await self.keep(job_id)
            raise tree.SyncWaitOver(job_id, self._sync_wait_s) from None
        if job is None:
            return await self.read_success(job_id)
        check_success(job, is_awaited=True)
        return job

    async def wait_for_end(self, job_id: str, request: Request, *, within_s: float) -> None:
        """Return when the job is final or gone, the process is about to stop, or `within_s` is over.

        Raises:
            ClientDisconnected: the client of `request` closed the connection. The job goes on.
            QueueUnavailable: Redis has not answered for long.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await run_while_connected(request, self._follower.follow_to_end(job_id))

    async def read_success(self, job_id: str) -> Job:
        """Return the job, which has succeeded.

        Raises:
            TranscriptionFailed, TranscriptionCancelled: the job ended otherwise.
            ServerStopping: the job has not ended, and the process is about to stop. The job goes on.
            JobNotFound, JobGone: the job was deleted, or its TTL is over.
            QueueUnavailable: Redis has not answered for long.
        """
        job = await self._reader.find(job_id, find_job(job_id, owner=None))
        if not job.state.is_final:
            await self.keep(job_id)
        check_success(job, is_awaited=True)
        return job

    async def keep(self, job_id: str) -> None:
        """Let the job go on without a listener, before an answer that says so.

        Raises:
            QueueUnavailable: Redis has not answered for long.
        """
        await self._reader.run(drop_listener_lease(job_id))


def check_success(job: Job, *, is_awaited: bool) -> None:
    """Raise the reason why a job has no transcript, if it has none.

    A failure is the answer to the request that submitted the job and awaits it. To a later request for the
    transcript it is a conflict with the state of the job. The message names the way to finished windows.

    Raises:
        TranscriptionFailed, JobFailed: the job has failed, and is awaited or not.
        TranscriptionCancelled: the job was cancelled.
        ServerStopping, JobUnfinished: the job is not final, and is awaited or not.
    """
    offer = _offer_partial(job)
    if job.failure is not None:
        error = tree.TranscriptionFailed if is_awaited else tree.JobFailed
        raise error(job.failure, offer)
    if job.state is JobState.CANCELLED:
        raise tree.TranscriptionCancelled(offer)
    if not job.state.is_final:
        if is_awaited:
            raise tree.ServerStopping(job.job_id)
        raise tree.JobUnfinished(job.job_id, job.state, offer)


def _offer_partial(job: Job) -> str:
    if not job.processed_s:
        return ""
    url = f"/v1/jobs/{job.job_id}/transcript?partial=true"
    return f" The transcript of its first {job.processed_s:g} s is at {url}."
