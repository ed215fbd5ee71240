"""Following a job: its events from any point on, in order, until the final one."""

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

import structlog

from api.streams.event_hub import EventHub
from api.streams.spreading import spread
from shared.errors import QueueUnavailable
from shared.jobs import Job
from shared.record.event_log import LoggedEvent, LogPage, read_log
from shared.record.scripts import AsyncScriptRunner, ScriptCall
from shared.record.transitions import read_job

RECHECK_S = 15.0
"""How long a listener trusts, at the most, that a wake-up would reach it before it looks by itself."""

PATIENCE_S = 30.0
"""How long a listener waits for a Redis that does not answer, because it is restarted for instance."""

RETRY_S = 0.5

Answer = TypeVar("Answer")

_logger = structlog.get_logger(__name__)


class JobFollower:
    """Follows jobs for any number of listeners; what one of them has not read waits in the log, not here."""

    def __init__(self, hub: EventHub, runner: AsyncScriptRunner) -> None:
        self._hub = hub
        self._runner = runner

    async def follow_pages(
        self, job_id: str, *, after_id: str, first_page: LogPage | None = None
    ) -> AsyncGenerator[tuple[LoggedEvent, ...]]:
        """Yield the events after `after_id`, each time all that are new.

        Ends after the final event, when the job is gone, or when the process is about to stop. The first page
        may be passed in by a caller that has read it.

        Raises:
            QueueUnavailable: Redis has not answered for PATIENCE_S.
        """
        with self._hub.listen(job_id) as wake_up:
            wake_up.set()  # there may be news since the first page was read: the first wait ends at once
            page = first_page
            while not self._hub.is_closed:
                if page is None:
                    wake_up.clear()
                    page = await self.run_patiently(read_log(job_id, after_id=after_id))
                if page is None:
                    return
                if page.events:
                    after_id = page.events[-1].event_id
                    yield page.events
                if page.state.is_final and not page.has_more:
                    return
                if not page.has_more:
                    await _wait_for_wake_up(wake_up)
                page = None

    async def follow_to_end(self, job_id: str) -> Job | None:
        """The job once it is final; None where it is gone, or the process is about to stop.

        Raises:
            QueueUnavailable: Redis has not answered for PATIENCE_S.
        """
        with self._hub.listen(job_id, only_for_end=True) as wake_up:
            while not self._hub.is_closed:
                wake_up.clear()
                job = await self.run_patiently(read_job(job_id))
                if job is None or job.state.is_final:
                    return job
                await _wait_for_wake_up(wake_up)
        return None

    async def run_patiently(self, call: ScriptCall[Answer]) -> Answer:
        """Run a call that only reads, again and again while Redis does not answer.

        Raises:
            QueueUnavailable: Redis has not answered for PATIENCE_S.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + PATIENCE_S
        while True:
            try:
                return await self._runner.run(call)
            except QueueUnavailable:
                if self._hub.is_closed or loop.time() > deadline_s:
                    raise
                _logger.warning("reading_again", script=call.script)
                await asyncio.sleep(RETRY_S)


async def _wait_for_wake_up(wake_up: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(spread(RECHECK_S)):
            await wake_up.wait()
    except TimeoutError:
        return
