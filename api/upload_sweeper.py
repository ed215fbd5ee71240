"""Deletes uploads that no job needs any more."""

import asyncio
from typing import NoReturn

import structlog
from starlette.concurrency import run_in_threadpool

from shared.job_store import read_job
from shared.redis_scripts import AsyncScriptRunner
from shared.upload_store import UploadStore

SWEEP_INTERVAL_S = 60.0

SETTLED_S = 600.0
"""A younger upload may belong to a request that is still being taken in, whose job does not exist yet."""

_logger = structlog.get_logger(__name__)


class UploadSweeper:
    """Looks at all uploads once a minute. Any number of them may run: to delete twice does no harm."""

    def __init__(self, runner: AsyncScriptRunner, uploads: UploadStore, *, upload_ttl_s: float) -> None:
        self._runner = runner
        self._uploads = uploads
        self._age_s = max(upload_ttl_s, SETTLED_S)

    async def run(self) -> NoReturn:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - a border: there is another sweep in a minute
                _logger.warning("upload_sweep_failed", reason=repr(error))

    async def sweep(self) -> None:
        """Delete each old upload whose job is gone or final.

        Raises:
            QueueUnavailable: Redis does not answer.
            OSError: the folder cannot be read.
        """
        for name in await run_in_threadpool(lambda: list(self._uploads.list_older_than(self._age_s))):
            job = await self._runner.run(read_job(name))
            if job is None or job.state.is_final:
                await run_in_threadpool(self._uploads.delete, name)
                _logger.info("upload_deleted", job_id=name)
