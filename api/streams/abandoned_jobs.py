"""Jobs whose client left are said to be so, however long Redis does not hear it: see LEAVE_PATIENCE_S."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import structlog

from shared.record.abandonment import abandon_job
from shared.record.scripts import AsyncScriptRunner, ScriptCall
from shared.record.transitions import cancel_job

LEAVE_PATIENCE_S = 600.0
"""How long Redis is told again and again that a client has left; after that the job goes on."""

RETRY_S = 0.5

LAST_WORDS_S = 1.0
"""How long a process that stops takes to tell what it has not told yet."""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Notice:
    """What Redis is to be told of a job, which may be told twice, and until when on the clock of the loop."""

    call: ScriptCall[Any]
    until_s: float


class AbandonedJobs:
    """Tells the record of clients that left. What is not told yet is known to this process alone."""

    def __init__(self, runner: AsyncScriptRunner, *, job_ttl_s: float, resume_s: float) -> None:
        self._runner = runner
        self._job_ttl_s = job_ttl_s
        self._resume_s = resume_s
        self._untold: dict[str, _Notice] = {}
        self._has_news = asyncio.Event()

    def cancel(self, job_id: str) -> None:
        """Have the job cancelled at once: nobody can come back to it."""
        self._note(job_id, cancel_job(job_id, ttl_s=self._job_ttl_s))

    def cancel_unless_followed(self, job_id: str) -> None:
        """Have the job cancelled as soon as nobody has followed it, at any api, for STREAM_RESUME_S."""
        if self._resume_s > 0:
            self._note(job_id, abandon_job(job_id, resume_s=self._resume_s))
        else:
            self.cancel(job_id)

    async def run(self) -> NoReturn:
        """Tell Redis at once of each client that leaves, until cancelled."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            while self._untold:
                if not await self._tell_all():
                    await asyncio.sleep(RETRY_S)

    async def finish(self) -> None:
        """Tell what is not told yet, within LAST_WORDS_S; what Redis does not hear then is never told."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._tell_all()
        self._give_up(lambda _notice: True)

    def _note(self, job_id: str, call: ScriptCall[Any]) -> None:
        self._untold[job_id] = _Notice(call, asyncio.get_running_loop().time() + LEAVE_PATIENCE_S)
        self._has_news.set()

    async def _tell_all(self) -> bool:
        """Whether Redis heard all of it; the first that it does not hear is the last that is tried."""
        for job_id, notice in list(self._untold.items()):
            try:
                await self._runner.run(notice.call)
            except Exception as error:  # noqa: BLE001 - a border: whatever it was, it is tried again
                _logger.warning("job_not_cancelled_yet", job_id=job_id, reason=repr(error))
                self._untold[job_id] = self._untold.pop(job_id)  # others come first the next time
                self._give_up(_is_overdue)
                return False
            del self._untold[job_id]
            _logger.info("job_abandoned", job_id=job_id)
        return True

    def _give_up(self, is_given_up: Callable[[_Notice], bool]) -> None:
        for job_id in [job_id for job_id, notice in self._untold.items() if is_given_up(notice)]:
            del self._untold[job_id]
            _logger.warning("job_not_cancelled", job_id=job_id, reason="the queue does not answer")


def _is_overdue(notice: _Notice) -> bool:
    return asyncio.get_running_loop().time() > notice.until_s
