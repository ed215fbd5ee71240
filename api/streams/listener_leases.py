"""The listener leases of all jobs that clients of this process listen to."""

import asyncio
from typing import NoReturn

import structlog

from api.streams.event_hub import EventHub
from shared.errors import QueueUnavailable
from shared.jobs import JobState
from shared.logs import log_job_end
from shared.record.listeners import RENEWAL_S, renew_listener_leases
from shared.record.scripts import AsyncScriptRunner
from shared.record.transitions import cancel_job

_logger = structlog.get_logger(__name__)


class ListenerLeases:
    """Renews the leases of the jobs that have a listener; costs nothing while no job has one."""

    def __init__(self, hub: EventHub, runner: AsyncScriptRunner, *, job_ttl_s: float) -> None:
        self._hub = hub
        self._runner = runner
        self._job_ttl_s = job_ttl_s

    async def run(self) -> NoReturn:
        """Renew all leases every RENEWAL_S, until cancelled."""
        while True:
            await asyncio.sleep(RENEWAL_S)
            try:
                if job_ids := self._hub.job_ids:
                    await self._runner.run(renew_listener_leases(job_ids))
            except Exception as error:  # noqa: BLE001 - a border: the next renewal comes in time
                _logger.warning("listener_leases_not_renewed", reason=repr(error))

    async def cancel(self, job_id: str) -> None:
        """Cancel a job whose client has disconnected, or leave that to its lease if Redis does not answer."""
        _logger.info("client_disconnected", job_id=job_id)
        try:
            was = await self._runner.run(cancel_job(job_id, ttl_s=self._job_ttl_s))
            if was is JobState.QUEUED:
                log_job_end("cancelled", job_id=job_id, reason="client_disconnected")
        except QueueUnavailable:
            _logger.warning("job_not_cancelled", job_id=job_id, consequence="its listener lease expires")
