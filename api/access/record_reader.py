"""Reads of the job record for clients. They survive a short outage of Redis."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import structlog

from api.errors.tree import JobGone, JobNotFound
from shared.errors import QueueUnavailable
from shared.record.listeners import PATIENCE_S
from shared.record.readings import Absence
from shared.record.scripts import AsyncScriptRunner, RecordCall, ScriptCall

RETRY_S = 0.5

Answer = TypeVar("Answer")
Found = TypeVar("Found")

_logger = structlog.get_logger(__name__)


class RecordReader:
    """Runs calls that are safe to repeat, for up to PATIENCE_S while Redis does not answer."""

    def __init__(self, runner: AsyncScriptRunner, *, is_stopping: Callable[[], bool]) -> None:
        self._runner = runner
        self._is_stopping = is_stopping

    async def run(self, call: RecordCall[Answer]) -> Answer:
        """Run a call, again and again while Redis does not answer.

        Raises:
            QueueUnavailable: Redis has not answered for PATIENCE_S, or the process is about to stop.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + PATIENCE_S
        while True:
            try:
                return await self._runner.run(call)
            except QueueUnavailable:
                if self._is_stopping() or loop.time() > deadline_s:
                    raise
                _logger.warning("reading_again", call=call.name)
                await asyncio.sleep(RETRY_S)

    async def find(self, job_id: str, call: ScriptCall[Found | Absence]) -> Found:
        """Run a call that reads a job for its owner.

        Raises:
            JobNotFound, JobGone: see `require_found`.
            QueueUnavailable: see `run`.
        """
        return require_found(job_id, await self.run(call))


def require_found(job_id: str, found: Found | Absence) -> Found:
    """Return what was found of a job.

    Raises:
        JobNotFound: there is no such job, or it belongs to another API key.
        JobGone: the job was the owner's, and its TTL is over.
    """
    match found:
        case Absence.UNKNOWN:
            raise JobNotFound(job_id)
        case Absence.GONE:
            raise JobGone(job_id)
        case _:
            return found
