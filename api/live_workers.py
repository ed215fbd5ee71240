"""Asking who is there to work, without ever waiting long for the answer."""

import asyncio

from shared.capabilities import WorkerPresence
from shared.errors import QueueUnavailable
from shared.redis_scripts import AsyncScriptRunner
from shared.worker_registry import read_workers

ANSWER_WITHIN_S = 1.0


async def find_workers(runner: AsyncScriptRunner) -> tuple[WorkerPresence, ...]:
    """The workers that are alive, known within ANSWER_WITHIN_S.

    Raises:
        QueueUnavailable: Redis did not answer in that time.
    """
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await runner.run(read_workers())
    except TimeoutError as error:
        raise QueueUnavailable from error
