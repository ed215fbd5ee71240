"""The live workers and their capabilities, read from Redis within a bounded time."""

import asyncio
from collections.abc import Iterable
from typing import TypeVar

from shared.capabilities import Capabilities, WorkerPresence
from shared.errors import QueueUnavailable
from shared.record.scripts import AsyncScriptRunner, ScriptCall
from shared.record.workers import read_workers

ANSWER_WITHIN_S = 0.8
"""A client gets a refusal within a second when Redis does not answer."""

Answer = TypeVar("Answer")


async def find_workers(runner: AsyncScriptRunner) -> tuple[WorkerPresence, ...]:
    """Return the workers that are alive.

    Raises:
        QueueUnavailable: Redis did not answer within ANSWER_WITHIN_S.
    """
    return await ask_promptly(runner, read_workers())


async def ask_promptly(runner: AsyncScriptRunner, call: ScriptCall[Answer]) -> Answer:
    """Return the answer to `call`.

    Raises:
        QueueUnavailable: Redis did not answer within ANSWER_WITHIN_S.
    """
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await runner.run(call)
    except TimeoutError as error:
        raise QueueUnavailable from error


def gather_capabilities(workers: Iterable[WorkerPresence]) -> frozenset[Capabilities]:
    """Return the distinct capabilities of the workers that take jobs.

    Any of these workers may get the job, so a request must fit all capabilities.
    """
    return frozenset(worker.capabilities for worker in workers if worker.takes_jobs)
