"""Following a job: its events from any point on, in order, until the final one."""

import asyncio
import random
from collections.abc import AsyncGenerator

from api.access.record_reader import RecordReader
from api.streams.event_hub import EventHub
from shared.jobs import Job
from shared.record.readings import Absence, LoggedEvent, LogPage, find_job, find_log

RECHECK_S = 60.0
"""Seconds after which a listener looks for news without a wake-up; one may have been lost.

A hub that loses its connection wakes all listeners, so this is only a second net. With 5,000 listeners, looks
every 15 s kept the process so busy that events waited.
"""


class JobFollower:
    """Follows jobs for any number of listeners. Events that a listener has not read yet stay in the log."""

    def __init__(self, hub: EventHub, reader: RecordReader) -> None:
        self._hub = hub
        self._reader = reader

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
            page: LogPage | Absence | None = first_page
            while not self._hub.is_closed:
                if page is None:
                    wake_up.clear()
                    page = await self._reader.run(find_log(job_id, owner=None, after_id=after_id))
                if isinstance(page, Absence):
                    return
                if page.events:
                    after_id = page.events[-1].event_id
                    yield page.events
                if page.state.is_final and not page.has_more:
                    return
                if not page.has_more:
                    await _wait_for_wake_up(wake_up)
                page = None

    async def follow_to_end(self, job_id: str, *, is_new: bool = False) -> Job | None:
        """Return the job once it is final; None if it is gone or the process is about to stop.

        A job that `is_new` has just been submitted by this process. It is read only when it has ended.

        Raises:
            QueueUnavailable: Redis has not answered for PATIENCE_S.
        """
        with self._hub.listen(job_id, only_for_end=True) as wake_up:
            if is_new and not (self._hub.is_disconnected or self._hub.is_closed):
                await _wait_for_wake_up(wake_up)
            while not self._hub.is_closed:
                wake_up.clear()
                job = await self._reader.run(find_job(job_id, owner=None))
                if isinstance(job, Absence):
                    return None
                if job.state.is_final:
                    return job
                await _wait_for_wake_up(wake_up)
        return None


def spread(longest: float) -> float:
    """Return a random share of `longest`, a half at least, so that streams that began together differ."""
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret


async def _wait_for_wake_up(wake_up: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(spread(RECHECK_S)):
            await wake_up.wait()
    except TimeoutError:
        return
