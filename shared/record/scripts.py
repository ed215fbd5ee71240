"""Running the Lua scripts: one description of a call, two ways to run it (blocking and asyncio)."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Generic, TypeVar

import redis
import redis.asyncio
from redis.commands.core import AsyncScript, Script
from redis.exceptions import (
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.errors import QueueUnavailable

# Refusals of a server that will serve again, and did nothing of the script: its memory is full, it is a
# replica for now or cut off from its master, its slots move. redis-py has no classes for others: it is busy
# with somebody's script (BUSY, UNKILLABLE), its disk is full (MISCONF), replicas are missing.
_PASSING_KINDS = (OutOfMemoryError, ReadOnlyError, MasterDownError, ClusterDownError, TryAgainError)
_PASSING_CODE = re.compile(r"\b(?:BUSY|UNKILLABLE|MISCONF|NOREPLICAS)\b")

_SHARED_PARTS = ("_prelude", "_leases", "_order", "_intake", "_outlook", "_cancel")

Answer = TypeVar("Answer")
Registered = TypeVar("Registered")


@dataclass(frozen=True, slots=True)
class ScriptCall(Generic[Answer]):
    """One call of a script in `shared/record/lua`: its arguments, and how its reply is read."""

    script: str
    args: tuple[str | bytes | int | float, ...]
    parse: Callable[[Any], Answer]


@cache
def script_source(name: str) -> str:
    """The text of script `name`, behind what all of them share."""
    folder = files("shared.record") / "lua"
    return "".join((folder / f"{part}.lua").read_text() for part in (*_SHARED_PARTS, name))


class _Scripts(Generic[Registered]):
    """The scripts that were called before, registered on one connection."""

    def __init__(self, register: Callable[[str], Registered]) -> None:
        self._register = register
        self._scripts: dict[str, Registered] = {}

    def find(self, name: str) -> Registered:
        """The script `name`, registered when it is first asked for."""
        if name not in self._scripts:
            self._scripts[name] = self._register(script_source(name))
        return self._scripts[name]


class ScriptRunner:
    """Runs script calls on a blocking connection; all keys begin with `prefix`. Thread-safe."""

    def __init__(self, connection: "redis.Redis", prefix: str) -> None:
        self._keys = [prefix]
        self._scripts: _Scripts[Script] = _Scripts(connection.register_script)

    def run(self, call: ScriptCall[Answer]) -> Answer:
        """Run one call.

        Raises:
            QueueUnavailable: Redis does not answer, or refuses all calls or writes for now. Whether the
                call took effect is then unknown.
        """
        script = self._scripts.find(call.script)
        try:
            return call.parse(script(keys=self._keys, args=list(call.args)))
        except (RedisConnectionError, RedisTimeoutError) as error:
            raise QueueUnavailable from error
        except ResponseError as error:
            if not is_passing(error):
                raise
            raise QueueUnavailable from error


class AsyncScriptRunner:
    """Runs script calls on an asyncio connection; all keys begin with `prefix`."""

    def __init__(self, connection: "redis.asyncio.Redis", prefix: str) -> None:
        self._keys = [prefix]
        self._scripts: _Scripts[AsyncScript] = _Scripts(connection.register_script)

    async def run(self, call: ScriptCall[Answer]) -> Answer:
        """Run one call.

        Raises:
            QueueUnavailable: Redis does not answer, or refuses all calls or writes for now. Whether the
                call took effect is then unknown.
        """
        script = self._scripts.find(call.script)
        try:
            return call.parse(await _keep_cancel(script(keys=self._keys, args=list(call.args))))
        except (RedisConnectionError, RedisTimeoutError) as error:
            raise QueueUnavailable from error
        except ResponseError as error:
            if not is_passing(error):
                raise
            raise QueueUnavailable from error


async def _keep_cancel(reply: Awaitable[Answer]) -> Answer:
    """Return the reply, unless the task was cancelled while it waited for that.

    redis-py sends with `asyncio.wait_for`, which before Python 3.12 swallows a cancel that comes just when
    everything was sent. A task with a loop of calls would never end.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    answer = await reply
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
    return answer


def is_passing(error: ResponseError) -> bool:
    """Whether the server refused a call by a state that it gets over without a change of ours."""
    return isinstance(error, _PASSING_KINDS) or _PASSING_CODE.search(str(error)) is not None
