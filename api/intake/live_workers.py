"""The live workers, read from Redis in bounded time: their capabilities, and the names of their models."""

import asyncio
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from typing import TypeVar

from api.errors.tree import ModelNotFound, NoWorker
from api.schemas.openai import ModelBody
from shared.capabilities import Capabilities, WorkerPresence
from shared.errors import QueueUnavailable
from shared.record.scripts import AsyncScriptRunner, ScriptCall
from shared.record.workers import read_workers

ANSWER_WITHIN_S = 0.8
"""A client gets a refusal within a second when Redis does not answer."""

_WILDCARDS = frozenset("*?")

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


def list_models(offered: Collection[Capabilities], aliases: Collection[str]) -> list[ModelBody]:
    """Return the models that are `offered`, then the `aliases` without patterns, which stand for any of them.

    Raises:
        NoWorker: `offered` is empty, because no worker takes jobs.
    """
    if not offered:
        raise NoWorker
    owners = {capabilities.model: _name_owner(capabilities) for capabilities in offered}
    served = [_describe(model, owners[model]) for model in sorted(owners)]
    names = {alias for alias in aliases if not _WILDCARDS & {*alias}}
    return served + [_describe(alias, served[0].owned_by) for alias in sorted(names - owners.keys())]


def find_model(name: str, offered: Collection[Capabilities], aliases: Collection[str]) -> ModelBody:
    """Return the model with this name: its full name, the part after its last `/`, or an alias.

    An alias may be a pattern.

    Raises:
        ModelNotFound: no model has this name.
        NoWorker: `offered` is empty, because no worker takes jobs.
    """
    models = list_models(offered, aliases)
    for model in models:
        if model.id == name:
            return model
    served = sorted(capabilities.model for capabilities in offered)
    for model in models:
        if model.id in served and model.id.rpartition("/")[2] == name:
            return model
    if any(fnmatchcase(name, alias) for alias in aliases):
        return _describe(name, models[0].owned_by)
    raise ModelNotFound(name, [model.id for model in models])


def _describe(name: str, owner: str) -> ModelBody:
    return ModelBody(id=name, object="model", created=0, owned_by=owner)


def _name_owner(capabilities: Capabilities) -> str:
    """Return the owner in a hub name such as `Qwen/Qwen3-ASR-0.6B`; for other names, the engine."""
    owner, slash, _ = capabilities.model.partition("/")
    return owner if slash else capabilities.engine
