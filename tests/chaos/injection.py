"""Injection of the drawn faults, with a record of the time and the jobs that each one hit."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil
import redis.asyncio
from redis.exceptions import RedisError

from cli.up.descendants import is_alive
from tests.chaos.disk import SmallDisk
from tests.chaos.environment import RunningPart, ServerEnvironment
from tests.chaos.faults import WORKERS, Fault, FaultKind
from tests.chaos.records import RecordReader
from tests.chaos.waiting import wait_until

BUSY_WITHIN_S = 10.0
"""The time that a fault waits until its target is busy."""


@dataclass
class Injected:
    """An injected fault. Times are in ms since the epoch; `job_ids` are the jobs that its worker held."""

    fault: Fault
    began_ms: int
    ended_ms: int = 0
    job_ids: tuple[str, ...] = ()
    model_gone_s: float | None = None


class Injector:
    """An injector of faults into the parts of a server."""

    def __init__(
        self,
        environment: ServerEnvironment,
        records: RecordReader,
        disk: SmallDisk | None,
        *,
        is_front_busy: Callable[[], bool],
    ) -> None:
        self._environment = environment
        self._records = records
        self._disk = disk
        self._is_front_busy = is_front_busy

    async def inject(self, fault: Fault) -> Injected:
        """Inject a fault; return when the fault itself is over, before the server has recovered."""
        held = await self._wait_until_busy(fault)
        injected = Injected(fault, began_ms=_now_ms(), job_ids=held)
        await self._do(fault, injected)
        injected.ended_ms = _now_ms()
        return injected

    async def _do(self, fault: Fault, injected: Injected) -> None:
        match fault.kind:
            case FaultKind.KILL_WORKER:
                injected.model_gone_s = await self._kill_worker(self._part(fault))
            case FaultKind.KILL_MODEL:
                self._kill_model(self._part(fault))
            case FaultKind.KILL_API | FaultKind.KILL_REDIS:
                self._part(fault).send(signal.SIGKILL)
            case FaultKind.TERM_WORKER:
                self._part(fault).send(signal.SIGTERM)
            case FaultKind.STOP_WORKER | FaultKind.STOP_REDIS:
                await self._freeze(self._part(fault), fault.hold_s)
            case FaultKind.HALF_OPEN:
                self._environment.proxies[fault.target].fall_silent()
            case FaultKind.CLIENT_KILL:
                await self._cut_connections()
            case FaultKind.REDIS_DOWN:
                await self._keep_down(self._part(fault), fault.hold_s)
            case FaultKind.DISK_FULL:
                await self._fill_disk(fault.hold_s)

    async def _wait_until_busy(self, fault: Fault) -> tuple[str, ...]:
        """Wait until the target is busy, and return the jobs that are held."""
        give_up_s = time.monotonic() + BUSY_WITHIN_S
        while True:
            held = await self._records.read_held()
            pids = {part.pid for name, part in self._environment.parts.items() if name == fault.target}
            of_target = tuple(job_id for pid, job_id in held if pid in pids)
            hit = of_target if fault.target in WORKERS else tuple(job_id for _, job_id in held)
            is_busy = bool(hit) and (fault.target != "api" or self._is_front_busy())
            if is_busy or time.monotonic() > give_up_s:
                return hit
            await asyncio.sleep(0.02)

    def _part(self, fault: Fault) -> RunningPart:
        return self._environment.parts[fault.target]

    async def _kill_worker(self, worker: RunningPart) -> float | None:
        """Kill the worker, and return how long its model process lived on, in seconds."""
        models = find_model_processes(worker.pid)
        worker.send(signal.SIGKILL)
        began_s = time.monotonic()
        await wait_until(lambda: not any(map(is_alive, models)), every_s=0.005)
        return time.monotonic() - began_s if models else None

    def _kill_model(self, worker: RunningPart) -> None:
        for model in find_model_processes(worker.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                model.kill()

    async def _freeze(self, part: RunningPart, hold_s: float) -> None:
        part.send(signal.SIGSTOP)
        await asyncio.sleep(hold_s)
        part.send(signal.SIGCONT)

    async def _keep_down(self, part: RunningPart, hold_s: float) -> None:
        part.hold_down()
        part.send(signal.SIGKILL)
        await asyncio.sleep(hold_s)
        part.let_run()

    async def _cut_connections(self) -> None:
        async with redis.asyncio.Redis.from_url(self._environment.redis_url) as connection:
            for kind in ("normal", "pubsub"):
                with contextlib.suppress(RedisError):
                    await connection.client_kill_filter(_type=kind, skipme=True)

    async def _fill_disk(self, hold_s: float) -> None:
        if self._disk is not None:
            self._disk.fill()
            await asyncio.sleep(hold_s)
            self._disk.clear()
            return
        self._environment.full_disk_flag.touch()
        await self._restart_api()
        await asyncio.sleep(hold_s)
        self._environment.full_disk_flag.unlink()
        await self._restart_api()

    async def _restart_api(self) -> None:
        before = self._environment.parts["api"].pid
        self._environment.parts["api"].send(signal.SIGTERM)
        await wait_until(lambda: self._environment.parts["api"].pid not in (before, None))


def find_model_processes(worker_pid: int | None) -> Sequence[psutil.Process]:
    """Return the model process of a worker, if it has one now."""
    with contextlib.suppress(psutil.NoSuchProcess):
        if worker_pid is not None:
            children = psutil.Process(worker_pid).children(recursive=True)
            return [child for child in children if "worker.model.process" in _command_of(child)]
    return []


def _command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _now_ms() -> int:
    return round(time.time() * 1000)
