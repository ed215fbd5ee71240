"""A whole server of real processes for a test: Redis, workers and api, each started and killed at will."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import httpx
import psutil

from tests.support.redis_fixture import RedisServer

START_WITHIN_S = 60.0

Seen = TypeVar("Seen")


def wait_for(look: Callable[[], Seen | None], *, within_s: float = START_WITHIN_S, what: str = "it") -> Seen:
    """What `look` sees as soon as that is true; fails after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"{what} did not happen within {within_s} s"
        time.sleep(0.02)


class RealServer:
    """Processes on a private Redis socket and a free port; all of them end with the `with` block."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.port = find_free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.base_url, timeout=120)
        (folder / "redis").mkdir()
        self.redis = RedisServer(folder / "redis")
        self._environment = os.environ | {
            "REDIS_URL": self.redis.url,
            "DATA_DIR": str(folder),
            "PORT": str(self.port),
            "ENGINE": "scripted",
            "LOG_LEVEL": "INFO",
            **settings,
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self._log = (folder / "server.log").open("ab")

    def start_worker(self, **settings: str) -> subprocess.Popen[bytes]:
        """Start a worker; it announces itself when it is ready."""
        return self._start([sys.executable, "-P", "-m", "worker"], settings)

    def start_api(self, **settings: str) -> subprocess.Popen[bytes]:
        """Start the api on the port of this server."""
        return self._start([sys.executable, "-P", "-m", "api"], settings)

    def start(self) -> Self:
        """Start Redis, one worker and the api; returns when a request would be served."""
        self.redis.start()
        self.worker = self.start_worker()
        self.api = self.start_api()
        self.wait_until_ready()
        return self

    def end(self, process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGKILL) -> int:
        """Send one of the processes a signal and wait until it is gone; answers its exit code."""
        process.send_signal(how)
        self._processes.remove(process)
        return process.wait(START_WITHIN_S)

    def wait_until_ready(self) -> None:
        """Return when the api answers and a worker is alive."""
        wait_for(self._is_ready, what="the start of the server")

    def log_text(self) -> str:
        """What all processes have written so far."""
        return (self.folder / "server.log").read_text(errors="replace")

    def model_process(self) -> psutil.Process | None:
        """The model process of the worker that `start` started, if there is one now."""
        children = psutil.Process(self.worker.pid).children(recursive=True)
        return next((child for child in children if "worker.model.process" in _command_of(child)), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        for process in reversed(self._processes):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        self.redis.kill()
        self._log.close()

    def _start(self, command: list[str], settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command,
            env={**self._environment, **settings},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    def _is_ready(self) -> bool:
        for process in self._processes:
            assert process.poll() is None, f"a process ended early:\n{self.log_text()}"
        try:
            return self.client.get("/ready").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


def find_free_port() -> int:
    """A TCP port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
