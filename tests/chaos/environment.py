"""The server under test: Redis, two workers and the api, with their own ports and folder."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from cli.up.data_folder import open_data_folder
from cli.up.parts import Part, PartPlan
from cli.up.port import base_url, open_port
from cli.up.readiness import check_api, check_redis, wait_until
from cli.up.redis_server import redis_command, socket_url
from tests.chaos.clips import TIMEOUT_S, WINDOW_S
from tests.chaos.faults import WORKERS
from tests.chaos.groups import GroupLog
from tests.chaos.proxy import RedisProxy
from tests.chaos.settings import ChaosSettings

SCRIPTED_SPEED = "40"
RESTART_PAUSE_S = 0.25
STOP_WITHIN_S = 20.0

# The unit is a block of the shell, 512 or 1024 bytes: the limit is less than any clip.
LIMITED_API = 'test -e "$0" && ulimit -S -f 8; exec "$@"'


class RunningPart:
    """A part that restarts whenever it ends, unless it is held down."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._may_run = asyncio.Event()
        self._may_run.set()
        self._is_end_expected = False
        self.unexpected_ends: list[str] = []
        self._running = asyncio.create_task(self._keep_running())

    @property
    def name(self) -> str:
        """The name of the part."""
        return self._part.name

    @property
    def pid(self) -> int | None:
        """The process id, or None while the part does not run."""
        return self._part.pid

    def send(self, number: signal.Signals) -> bool:
        """Send a signal, and expect the end if the signal ends the part; return False if it does not run."""
        if self.pid is None:
            return False
        self._is_end_expected |= number in (signal.SIGKILL, signal.SIGTERM)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return True

    def hold_down(self) -> None:
        """Prevent a restart until `let_run`."""
        self._may_run.clear()

    def let_run(self) -> None:
        """Allow restarts again."""
        self._may_run.set()

    async def stop(self) -> None:
        """End the part without a restart."""
        self._running.cancel()
        self.send(signal.SIGCONT)
        await self._part.stop()

    async def _keep_running(self) -> None:
        while True:
            await self._may_run.wait()
            await self._part.start()
            reason = await self._part.wait()
            if not self._is_end_expected:
                self.unexpected_ends.append(f"{self.name}: {reason}")
            self._is_end_expected = False
            await asyncio.sleep(RESTART_PAUSE_S)


class ServerEnvironment:
    """All parts of the server; `data` holds Redis and the uploads, `folder` the rest."""

    def __init__(self, folder: Path, data: Path, settings: ChaosSettings) -> None:
        self._settings = settings
        self._folder = folder
        self._socket = folder / "redis.sock"
        self.data = data
        self.full_disk_flag = folder / "disk-is-full"
        self.redis_url = socket_url(self._socket)
        self.proxies = {name: RedisProxy(self._socket) for name in (*WORKERS, "api")}
        self.parts: dict[str, RunningPart] = {}
        self.base_url = ""

    async def start(self) -> None:
        """Start all parts, and return when the server is ready for requests."""
        open_data_folder(self.data)
        (self._folder / "logs").mkdir(exist_ok=True)
        self._listener = open_port("127.0.0.1", 0)
        self.base_url = base_url(self._listener)
        command = redis_command(self.data / "redis", "everysec", socket=self._socket)
        self._run("redis", command, os.environ)
        await wait_until(partial(check_redis, self.redis_url), name="Redis", show=print)
        for name in WORKERS:
            self._run(name, self._python("worker"), await self._environment(name))
        shell = ("/bin/sh", "-c", LIMITED_API, str(self.full_disk_flag), *self._python("api"))
        descriptor = self._listener.fileno()
        environment = {**await self._environment("api"), "LISTEN_FD": str(descriptor)}
        self._run("api", shell, environment, (descriptor,))
        await wait_until(partial(check_api, self.base_url), name="the api and the workers", show=print)

    async def stop(self) -> None:
        """End all parts."""
        for name in ("api", *WORKERS, "redis"):
            if name in self.parts:
                await self.parts[name].stop()
        for proxy in self.proxies.values():
            await proxy.stop()
        self._listener.close()

    @property
    def unexpected_ends(self) -> list[str]:
        """The ends of parts that no fault caused."""
        return [end for part in self.parts.values() for end in part.unexpected_ends]

    def read_groups(self) -> GroupLog:
        """Return what the workers have logged about groups."""
        groups = GroupLog()
        for name in WORKERS:
            with self._find_log(name).open() as lines:
                groups.add_worker(lines)
        return groups

    def _find_log(self, name: str) -> Path:
        return self._folder / "logs" / f"{name}.log"

    def _run(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], inherited: Sequence[int] = ()
    ) -> None:
        plan = PartPlan(
            name=name,
            command=command,
            environment=environment,
            stop_within_s=STOP_WITHIN_S,
            inherited=tuple(inherited),
            on_line=partial(_append_line, self._find_log(name)),
        )
        self.parts[name] = RunningPart(Part(plan))

    async def _environment(self, name: str) -> Mapping[str, str]:
        kept = {key: value for key, value in os.environ.items() if key not in {"API_KEYS", "PORT", "HOST"}}
        return kept | {
            "REDIS_URL": await self.proxies[name].start(),
            "DATA_DIR": str(self.data),
            "ENGINE": self._settings.engine,
            "LEASE_S": f"{self._settings.lease_s:g}",
            "HEARTBEAT_S": "2",
            "CPU_THREADS": str(min(self._settings.rows, 2)),
            "PYTHONUNBUFFERED": "1",
            **(self._script() if self._settings.engine == "scripted" else {}),
        }

    def _script(self) -> Mapping[str, str]:
        return {
            "WINDOW_S": f"{WINDOW_S:g}",
            "SCRIPTED_SPEED": SCRIPTED_SPEED,
            "BATCH_WINDOWS": str(self._settings.rows),
            "REQUEST_TIMEOUT": f"{TIMEOUT_S:g}",
        }

    @staticmethod
    def _python(module: str) -> tuple[str, ...]:
        return (sys.executable, "-P", "-m", module)


def _append_line(log: Path, line: str) -> None:
    with log.open("a") as opened:
        opened.write(f"{line}\n")
