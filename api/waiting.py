"""The synchronous call: wait until a job is done, and let go of it when the client leaves."""

import asyncio
from contextlib import aclosing

import structlog
from starlette.requests import Request
from starlette.types import Receive

from api.errors import ClientLeft, ServerStopping, SyncWaitOver, TranscriptionCancelled
from api.following import JobFollower
from shared.errors import JobNotFound, QueueUnavailable, failure_error
from shared.event_log import LOG_START
from shared.job_store import cancel_job, read_job
from shared.jobs import Job, JobState
from shared.redis_scripts import AsyncScriptRunner

_logger = structlog.get_logger(__name__)


class JobWaiting:
    """Waits for what becomes of jobs."""

    def __init__(
        self, follower: JobFollower, runner: AsyncScriptRunner, *, job_ttl_s: float, sync_wait_s: float
    ) -> None:
        self._follower = follower
        self._runner = runner
        self._job_ttl_s = job_ttl_s
        self._sync_wait_s = sync_wait_s or None

    async def wait_for_success(self, job_id: str, request: Request, *, is_kept: bool) -> Job:
        """The job once it has succeeded, as long as the client of `request`, whose body is read, stays.

        Raises:
            ClientLeft: the client closed the connection; the job is cancelled, unless it `is_kept`.
            SyncWaitOver: it took longer than SYNC_WAIT_S; the job goes on.
            ServerError: what `read_success` raises.
        """
        waiting = asyncio.create_task(self._wait_until_final(job_id))
        leaving = asyncio.create_task(_wait_for_disconnect(request.receive))
        try:
            await asyncio.wait(
                {waiting, leaving}, timeout=self._sync_wait_s, return_when=asyncio.FIRST_COMPLETED
            )
            if self._sync_wait_s and not waiting.done() and not leaving.done():
                raise SyncWaitOver(job_id, self._sync_wait_s)
            if not waiting.done():
                if not is_kept:
                    await self.cancel_job(job_id)
                raise ClientLeft
            await waiting
        finally:
            waiting.cancel()
            leaving.cancel()
        return await self.read_success(job_id)

    async def read_success(self, job_id: str) -> Job:
        """The job, which has succeeded.

        Raises:
            TranscriptionFailed, TranscriptionCancelled: it ended otherwise.
            ServerStopping: it has not ended, which nobody waits for any more: the process is about to stop.
            JobNotFound: somebody deleted it.
            QueueUnavailable: Redis has not answered for long.
        """
        job = await self._follower.run_patiently(read_job(job_id))
        if job is None:
            raise JobNotFound(job_id)
        if job.failure is not None:
            raise failure_error(job_id, job.failure)
        if job.state is JobState.CANCELLED:
            raise TranscriptionCancelled
        if not job.state.is_final:
            raise ServerStopping(job_id)
        return job

    async def cancel_job(self, job_id: str) -> None:
        """Cancel a job that nobody waits for any more."""
        try:
            await self._runner.run(cancel_job(job_id, ttl_s=self._job_ttl_s))
            _logger.info("job_abandoned", job_id=job_id)
        except QueueUnavailable:
            _logger.warning("job_not_cancelled", job_id=job_id, reason="the queue does not answer")

    async def _wait_until_final(self, job_id: str) -> None:
        async with aclosing(self._follower.follow_pages(job_id, after_id=LOG_START)) as pages:
            async for _ in pages:
                pass  # only their end counts: the transcript is in the record


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
