"""Asking who is there to work, without ever waiting long for the answer."""

import asyncio
from typing import TypeVar

from shared.capabilities import WorkerPresence
from shared.errors import QueueUnavailable
from shared.record.scripts import AsyncScriptRunner, ScriptCall
from shared.record.workers import read_workers

ANSWER_WITHIN_S = 0.8
"""A client is to know within a second that nothing can be done."""

Answer = TypeVar("Answer")


async def find_workers(runner: AsyncScriptRunner) -> tuple[WorkerPresence, ...]:
    """The workers that are alive, known within ANSWER_WITHIN_S.

    Raises:
        QueueUnavailable: Redis did not answer in that time.
    """
    return await ask_promptly(runner, read_workers())


async def ask_promptly(runner: AsyncScriptRunner, call: ScriptCall[Answer]) -> Answer:
    """The answer to `call` within ANSWER_WITHIN_S.

    Raises:
        QueueUnavailable: Redis did not answer in that time.
    """
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await runner.run(call)
    except TimeoutError as error:
        raise QueueUnavailable from error
