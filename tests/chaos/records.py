"""Reads of the job records from Redis directly, without the server and its proxies."""

import json
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from shared.record.keys import KEY_PREFIX
from tests.chaos.listeners import FINAL

BATCH = 200
FIELDS = ("state", "worker_losses", "engine_crashes", "failure", "new_job")


@dataclass(frozen=True)
class LoggedEvent:
    """An entry of a job's event log; `at_ms` is the server's time."""

    event_id: str
    type: str
    reason: str = ""
    attempt: int = 0  # of `started`

    @property
    def at_ms(self) -> int:
        """The time of the entry."""
        return int(self.event_id.partition("-")[0])


@dataclass(frozen=True)
class Record:
    """The record of a job, as far as the checks need it."""

    state: str
    worker_losses: int
    engine_crashes: int
    events: tuple[LoggedEvent, ...]
    failure_code: str = ""
    file_name: str = ""

    @property
    def ending(self) -> str:
        """The state, or the code of the failure."""
        return self.failure_code or self.state


class RecordReader:
    """A reader with its own connection; while Redis is away, it returns nothing new."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis.asyncio.Redis.from_url(
            redis_url,
            decode_responses=True,
            socket_timeout=2,
            socket_connect_timeout=2,
            retry=Retry(NoBackoff(), 0),
        )

    async def read_held(self) -> list[tuple[int, str]]:
        """Return the process ids of workers, each with a job that it holds."""
        held: list[tuple[int, str]] = []
        with suppress(RedisError):
            async for key in self._redis.scan_iter(f"{KEY_PREFIX}held:*", count=1000):
                jobs: Any = await self._redis.lrange(key, 0, -1)
                held += [(int(key.split(":")[-2]), job_id) for job_id in jobs]
        return held

    async def is_reachable(self) -> bool:
        """Return whether Redis answers."""
        with suppress(RedisError):
            return bool(await self._redis.ping())
        return False

    async def list_open(self) -> set[str]:
        """Return the jobs that are queued or held by a worker."""
        try:
            queued: Any = await self._redis.zrange(f"{KEY_PREFIX}queued", 0, -1)
        except RedisError:
            return set()
        return {*queued, *(job_id for _, job_id in await self.read_held())}

    async def find_final(self, job_ids: Collection[str]) -> set[str]:
        """Return those of the jobs that are final."""
        try:
            states = await self._ask("HGET", job_ids, "state")
        except RedisError:
            return set()
        return {job_id for job_id, state in states if state in FINAL}

    async def list_jobs(self) -> set[str]:
        """Return all jobs on record."""
        pattern = f"{KEY_PREFIX}job:*"
        return {key.rpartition(":")[2] async for key in self._redis.scan_iter(pattern, count=1000)}

    async def read_records(self, job_ids: Iterable[str]) -> dict[str, Record]:
        """Return the existing records of these jobs."""
        wanted = list(job_ids)
        hashes = await self._ask("HMGET", wanted, *FIELDS)
        logs = dict(await self._ask("XRANGE", wanted, "-", "+", kind="log"))
        return {job_id: _read_record(fields, logs[job_id]) for job_id, fields in hashes if fields[0]}

    async def close(self) -> None:
        """Close the connection."""
        await self._redis.aclose()

    async def _ask(
        self, command: str, job_ids: Collection[str], *args: str, kind: str = "job"
    ) -> list[tuple[str, Any]]:
        answers: list[tuple[str, Any]] = []
        wanted = list(job_ids)
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            answers += zip(batch, await self._run(command, batch, args, kind), strict=True)
        return answers

    async def _run(self, command: str, batch: Sequence[str], args: Sequence[str], kind: str) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for job_id in batch:
                pipeline.execute_command(command, f"{KEY_PREFIX}{kind}:{job_id}", *args)
            return list(await pipeline.execute())


def _read_record(fields: Sequence[str], log: Iterable[tuple[str, dict[str, str]]]) -> Record:
    state, losses, crashes, failure, new_job = fields
    events = tuple(_read_event(*one) for one in log)
    code = json.loads(failure)["code"] if failure else ""
    return Record(state, int(losses), int(crashes), events, code, json.loads(new_job)["upload"]["filename"])


def _read_event(event_id: str, fields: dict[str, str]) -> LoggedEvent:
    event = json.loads(fields["event"])
    return LoggedEvent(
        event_id, str(event["type"]), str(event.get("reason", "")), int(event.get("attempt", 0))
    )
