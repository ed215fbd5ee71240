"""The sweeper of uploads that no job needs any more."""

import asyncio
from typing import NoReturn

import structlog
from starlette.concurrency import run_in_threadpool

from shared.record.readings import read_job
from shared.record.scripts import AsyncScriptRunner
from shared.upload_store import UploadStore

SWEEP_INTERVAL_S = 60.0

SETTLED_S = 600.0
"""The job of a younger upload may not exist yet, since its request is still on its way in."""

UNFINISHED_S = 3_600.0
"""An unfinished upload without a write for so long is left over from an api that was killed."""

_logger = structlog.get_logger(__name__)


class UploadSweeper:
    """Checks all uploads once a minute. Any number may run at once: a second deletion does no harm."""

    def __init__(self, runner: AsyncScriptRunner, uploads: UploadStore, *, upload_ttl_s: float) -> None:
        self._runner = runner
        self._uploads = uploads
        self._upload_ttl_s = upload_ttl_s

    async def run(self) -> NoReturn:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - a border: the next sweep comes in a minute
                _logger.warning("upload_sweep_failed", reason=repr(error))

    async def sweep(self) -> None:
        """Delete each upload past its TTL whose job is gone or final, and what never became one.

        Raises:
            QueueUnavailable: Redis does not answer.
            OSError: the folder of uploads cannot be read.
        """
        await run_in_threadpool(self._uploads.remove_unfinished, UNFINISHED_S)
        settled = await self._list_older_than(max(self._upload_ttl_s, SETTLED_S))
        for name in await self._list_older_than(self._upload_ttl_s):
            job = await self._runner.run(read_job(name))
            if name in settled if job is None else job.state.is_final:
                await run_in_threadpool(self._uploads.delete, name)
                _logger.info("upload_deleted", job_id=name)

    async def _list_older_than(self, age_s: float) -> set[str]:
        return await run_in_threadpool(lambda: set(self._uploads.list_older_than(age_s)))
