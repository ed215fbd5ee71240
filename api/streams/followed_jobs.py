"""Abandoned jobs that are followed here: their cancel is put off, again and again while that is so."""

import asyncio
from typing import NoReturn

import structlog

from api.streams.event_hub import EventHub
from shared.record.abandonment import list_abandoned, put_cancels_off
from shared.record.scripts import AsyncScriptRunner

LOOKS = 5
"""How often one looks for abandoned jobs in the time after which they are cancelled."""

MIN_LOOK_S = 0.1

_logger = structlog.get_logger(__name__)


class FollowedJobs:
    """Speaks for all listeners of this process, and costs nothing while there is none."""

    def __init__(self, hub: EventHub, runner: AsyncScriptRunner, *, resume_s: float) -> None:
        self._hub = hub
        self._runner = runner
        self._resume_s = resume_s

    async def keep(self, job_id: str) -> None:
        """Put off the cancel of a job that somebody is about to follow, if it is abandoned.

        Raises:
            QueueUnavailable: Redis does not answer.
        """
        await self._runner.run(put_cancels_off([job_id], resume_s=self._resume_s))

    async def run(self) -> NoReturn:
        """Put off the cancels of jobs that are listened to here, until cancelled."""
        while True:
            await asyncio.sleep(max(self._resume_s / LOOKS, MIN_LOOK_S))
            try:
                await self.keep_followed()
            except Exception as error:  # noqa: BLE001 - a border: there is another look in time
                _logger.warning("followed_jobs_not_kept", reason=repr(error))

    async def keep_followed(self) -> None:
        """Put off the cancels of jobs that are listened to here.

        Raises:
            QueueUnavailable: Redis does not answer.
        """
        if not self._hub.has_any_listener:
            return
        abandoned = await self._runner.run(list_abandoned())
        followed = [job_id for job_id in abandoned if self._hub.has_listeners(job_id)]
        if followed:
            await self._runner.run(put_cancels_off(followed, resume_s=self._resume_s))
