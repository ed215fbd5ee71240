"""The server that is measured: Redis, the api and a worker, with their own folder and port."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import httpx
import psutil

from api.settings import ApiSettings
from cli.up.data_folder import open_data_folder
from cli.up.parts import Part, PartPlan
from cli.up.port import base_url, open_port
from cli.up.readiness import check_api, check_redis, wait_until
from cli.up.redis_server import choose_socket, redis_command, socket_url
from shared.record.connection import open_async_connection
from shared.record.scripts import AsyncScriptRunner, RecordCall
from tests.chaos.injection import find_model_processes
from worker.settings import WorkerSettings

STOP_WITHIN_S = 20.0
ANSWER_WITHIN_S = 60.0
MODEL_PROCESS = "model process"

AS_INSTALLED: Mapping[str, str] = {"PYTHONPATH": str(Path(__file__).with_name("as_installed"))}
"""Hides packages that only tests install. They would take memory that `make run` does not take."""

# The environment may hold settings of another server; only those that locate models are kept.
_KEPT = {"hf_home", "hf_hub_cache", "whisper_model"}
_SETTINGS = {*ApiSettings.model_fields, *WorkerSettings.model_fields} - _KEPT

Answer = TypeVar("Answer")


class BenchServer:
    """The parts, each started as `make run` starts it; a killed part stays dead until the next start."""

    def __init__(self, folder: Path, settings: Mapping[str, str], python: Path | str) -> None:
        self.folder = folder
        self._python = str(python)
        self._listener = open_port("127.0.0.1", 0)
        self._socket = choose_socket(folder / "redis")
        self._settings = settings
        self._parts: dict[str, Part] = {}
        self.base_url = base_url(self._listener)
        self.redis_url = socket_url(self._socket)
        self.http = httpx.AsyncClient(base_url=self.base_url, timeout=ANSWER_WITHIN_S)
        self._connection = open_async_connection(self.redis_url)
        self._runner = AsyncScriptRunner(self._connection)

    @property
    def port(self) -> int:
        """The TCP port of the api."""
        return int(self._listener.getsockname()[1])

    @property
    def redis_socket(self) -> Path:
        """The unix socket of Redis."""
        return self._socket

    async def start_front(self) -> None:
        """Start Redis and the api, and return when both answer."""
        await self._start("redis", redis_command(self.folder / "redis", "everysec", socket=self._socket))
        await wait_until(partial(check_redis, self.redis_url), name="Redis", show=print)
        descriptor = self._listener.fileno()
        settings = {"LISTEN_FD": str(descriptor)}
        await self._start("api", self._run("api"), settings=settings, inherited=(descriptor,))
        await self.http.get("/health")  # waits in the queue of the socket until the api is up

    async def start_worker(self) -> None:
        """Start the worker, and return when the server is ready for requests."""
        await self._start("worker", self._run("worker"))
        await wait_until(partial(check_api, self.base_url), name="the worker", show=print)

    def find_processes(self) -> Mapping[str, psutil.Process]:
        """Return the processes that run now, by their part in the server."""
        found = {name: psutil.Process(self.pid_of(name)) for name in self._parts}
        for model in self.find_model_processes():
            found[MODEL_PROCESS] = model
        return found

    def kill_worker(self) -> None:
        """Kill -9 the worker alone; return at once."""
        os.kill(self.pid_of("worker"), signal.SIGKILL)

    async def bury_worker(self) -> None:
        """Wait for the end of the killed worker, so that another one can start."""
        await self._parts.pop("worker").wait()

    def pid_of(self, name: str) -> int:
        """Return the process id of the running part `name`."""
        pid = self._parts[name].pid
        if pid is None:
            raise RuntimeError(f"{name} has ended: {self._parts[name].last_lines}")
        return pid

    def find_model_processes(self) -> Sequence[psutil.Process]:
        """Return the worker's model process, if it has one now."""
        return find_model_processes(self.pid_of("worker"))

    async def ask(self, call: RecordCall[Answer]) -> Answer:
        """Run a call on the job record, without the api."""
        return await self._runner.run(call)

    async def stop(self) -> None:
        """End all parts."""
        await self.http.aclose()
        await self._connection.aclose()
        for name in ("api", "worker", "redis"):
            if name in self._parts:
                await self._parts[name].stop()
        self._listener.close()
        if not self._socket.is_relative_to(self.folder):
            shutil.rmtree(self._socket.parent, ignore_errors=True)

    async def _start(
        self,
        name: str,
        command: Sequence[str],
        *,
        settings: Mapping[str, str] | None = None,
        inherited: tuple[int, ...] = (),
    ) -> None:
        plan = PartPlan(
            name=name,
            command=command,
            environment=self._environment() | dict(settings or {}),
            stop_within_s=STOP_WITHIN_S,
            inherited=inherited,
            on_line=partial(_append_line, self.folder / "logs" / f"{name}.log"),
        )
        part = self._parts[name] = Part(plan)
        await part.start()

    def _run(self, module: str) -> tuple[str, ...]:
        return (self._python, "-P", "-m", module)

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name.lower() not in _SETTINGS}
        here = {"REDIS_URL": self.redis_url, "DATA_DIR": str(self.folder), "PYTHONUNBUFFERED": "1"}
        return {**kept, **here, **AS_INSTALLED, **self._settings}


@asynccontextmanager
async def serve(
    folder: Path, *, python: Path | str = sys.executable, **settings: str
) -> AsyncIterator[BenchServer]:
    """Start Redis and the api, by default with the scripted engine; all parts end with the block.

    `python` is that of the environment that has the packages of the engine.
    """
    open_data_folder(folder)
    server = BenchServer(folder, {"ENGINE": "scripted", "IDLE_TIMEOUT": "0", **settings}, python)
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await server.start_front()
        yield server
    finally:
        await server.stop()


def _append_line(log: Path, line: str) -> None:
    with log.open("a") as opened:
        opened.write(f"{line}\n")
