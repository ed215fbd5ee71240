"""Calls of the job record: one description of a call, two ways to run it (blocking and asyncio).

A step that must be atomic is a command of the Lua script in `lua/`; others are plain Redis commands.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Generic, TypeVar

import msgspec
import redis
import redis.asyncio
from redis.exceptions import ClusterDownError, MasterDownError, ResponseError, TryAgainError

from shared.errors import QueueUnavailable
from shared.record.keys import KEY_PREFIX, Key, RecordKey

# Refusals that pass without a change of ours, and leave no trace of the call: the server's memory is full, it
# is a replica for now or cut off from its master, or its slots move. redis-py has no classes for the others:
# a foreign script blocks the server (BUSY, UNKILLABLE), its disk is full (MISCONF), replicas are missing.
_PASSING_KINDS = (
    redis.OutOfMemoryError,
    redis.ReadOnlyError,
    MasterDownError,
    ClusterDownError,
    TryAgainError,
)
_PASSING_CODE = re.compile(r"\b(?:BUSY|UNKILLABLE|MISCONF|NOREPLICAS)\b")

# In the order of their dependencies; see prelude.lua.
_FILES = (
    "prelude",
    "leases",
    "events",
    "workers",
    "queue",
    "windows",
    "claims",
    "backlog",
    "reads",
    "admission",
    "endings",
    "deliveries",
    "version",
)
_DISPATCH = "\nif commands[ARGV[1]] then return commands[ARGV[1]](cjson.decode(ARGV[2])) end\n"

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class ScriptCall(Generic[Answer]):
    """One command of the Lua script: its named arguments (None: absent) and how to read the reply."""

    name: str
    arguments: Mapping[str, Any]
    parse: Callable[[Any], Answer]


@dataclass(frozen=True, slots=True)
class PlainCall(Generic[Answer]):
    """Plain Redis commands, sent together and, if there are several, run as one transaction.

    `parse` reads the list of replies.
    """

    commands: tuple[tuple[str | int, ...], ...]
    parse: Callable[[list[Any]], Answer]

    @property
    def name(self) -> str:
        """The names of the commands."""
        return "+".join(str(command[0]) for command in self.commands)


RecordCall = ScriptCall[Answer] | PlainCall[Answer]
Connection = TypeVar("Connection", bound=redis.Redis | redis.asyncio.Redis)


class _Runner(Generic[Connection]):
    def __init__(self, connection: Connection, prefix: str = KEY_PREFIX) -> None:
        self._connection: Any = connection
        self._prefix = prefix
        self._script: Any = connection.register_script(script_source())

    def _send(self, call: RecordCall[Any]) -> Any:
        """Return the reply to a call; on an asyncio connection an awaitable of it."""
        match call:
            case ScriptCall():
                named = {name: value for name, value in call.arguments.items() if value is not None}
                return self._script(keys=[self._prefix], args=[call.name, msgspec.json.encode(named)])
            case PlainCall():
                pipeline = self._connection.pipeline(transaction=len(call.commands) > 1)
                for command in call.commands:
                    parts = (self._prefix + part if isinstance(part, RecordKey) else part for part in command)
                    pipeline.execute_command(*parts)
                return pipeline.execute()


class ScriptRunner(_Runner[redis.Redis]):
    """Runs calls on a blocking connection; all keys begin with `prefix`. Thread-safe."""

    def run(self, call: RecordCall[Answer]) -> Answer:
        """Run one call.

        Raises:
            QueueUnavailable: Redis does not answer, or refuses all calls or writes for now. Whether the call
                took effect is then unknown.
        """
        with _unavailable():
            return call.parse(self._send(call))

    def close(self) -> None:
        """Close all connections. A later call opens a new one."""
        self._connection.close()


class AsyncScriptRunner(_Runner[redis.asyncio.Redis]):
    """Runs calls on an asyncio connection; all keys begin with `prefix`."""

    async def run(self, call: RecordCall[Answer]) -> Answer:
        """Run one call. Raises as `ScriptRunner.run` does."""
        with _unavailable():
            return call.parse(await _keep_cancel(self._send(call)))


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


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise QueueUnavailable from error
    except ResponseError as error:
        if not is_passing(error):
            raise
        raise QueueUnavailable from error


def is_passing(error: ResponseError) -> bool:
    """Return whether the server refused a call because of a state that passes without a change of ours."""
    return isinstance(error, _PASSING_KINDS) or _PASSING_CODE.search(str(error)) is not None


@cache
def script_source() -> str:
    """Return the Lua script, with the names of the keys in it."""
    folder = files("shared.record") / "lua"
    text = _DISPATCH.join((folder / f"{name}.lua").read_text() for name in _FILES)
    text = re.sub(r"(?<![\w/])keys\.([a-z]\w*)", lambda found: f"'{Key[found[1].upper()].value}'", text)
    return f"{text}{_DISPATCH}return redis.error_reply('unknown command')"


def parse_ids(reply: list[bytes]) -> list[str]:
    """Return the ids in a reply."""
    return [found.decode() for found in reply]


def parse_pairs(reply: list[list[bytes]]) -> dict[str, str]:
    """Return the ids in a reply, each with the word that follows it."""
    return {job_id.decode(): word.decode() for job_id, word in reply}


def to_json(value: object) -> str:
    """Return `value` as JSON text, which the script stores as it is."""
    return msgspec.json.encode(value).decode()


def to_ms(seconds: float) -> int:
    """Return a time in whole milliseconds, as the script takes it."""
    return round(seconds * 1000)
