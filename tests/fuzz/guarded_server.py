"""A separate server for the fuzzer, started as `make run` starts one, with a watch over its processes."""

import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from shared.media.fork_server import PREFORKED

HOST = "127.0.0.1"
_START_WITHIN_S = 90.0
_STOP_WITHIN_S = 30.0
_CHECK_INTERVAL_S = 0.5
_SETTINGS: Mapping[str, str] = {
    "ENGINE": "scripted",
    "HOST": HOST,
    "IDLE_TIMEOUT": "0",  # a model process that ends has crashed
    "HEARTBEAT_S": "3600",  # a stream that sends nothing for long is stuck
    "MAX_AUDIO_S": "600",
    "DECODER_CPU_S": "20",
    "PROBE_TIMEOUT_S": "20",
}
_FORK_SERVER = "fork server"
_DECODER = "sandboxed decoder"
# A part of the command line of each process, and its role; the first match counts.
_ROLES: Mapping[str, str] = {
    "worker.model.process": "model process",
    "shared.media.fork_server": _FORK_SERVER,
    "-m api": "api",
    "-m worker": "worker",
    "valkey-server": "Redis",
    "redis-server": "Redis",
}


class GuardedServer:
    """The server that `serve` started, with the processes that it watches."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, port: int) -> None:
        self.port = port
        self._process = process
        self._folder = folder
        self._watched: dict[psutil.Process, str] = {}
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self.lost: list[str] = []
        """The roles of processes that ended unexpectedly."""
        self.peak_bytes: dict[str, int] = {}
        """The highest RSS of each role in one process, including decoders."""

    def watch_all(self) -> None:
        """Expect every present process to outlive the run, except the fork servers' children."""
        found = self._find_processes()
        with self._lock:
            self._watched = found

    @property
    def roles(self) -> list[str]:
        """The roles of the watched processes."""
        return sorted(self._watched.values())

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the processes within the block."""
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            self._check()

    def count_decoders(self) -> int:
        """Return the number of decoders that are alive, without those that each fork server forks ahead."""
        servers = [process for process, role in self._watched.items() if role == _FORK_SERVER]
        return sum(max(0, len(server.children()) - PREFORKED) for server in servers if server.is_running())

    def count_unfinished_uploads(self) -> int:
        """Return the number of files of incomplete uploads."""
        return len(list((self._folder / "data" / "uploads").glob("*.part")))

    def read_log(self) -> str:
        """Return the output of the server so far."""
        return (self._folder / "server.log").read_text(errors="replace")

    def wait_until_ready(self) -> None:
        """Return when the server is ready.

        Raises:
            RuntimeError: the server ended, or was not ready within 90 s.
        """
        deadline = time.monotonic() + _START_WITHIN_S
        while not self._is_ready():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"the server does not start:\n{self.read_log()}")
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _watch(self) -> None:
        while not self._ended.wait(_CHECK_INTERVAL_S):
            self._check()

    def _check(self) -> None:
        with self._lock:
            for process, role in list(self._watched.items()):
                if not _is_alive(process):
                    self.lost.append(role)
                    del self._watched[process]
        for process, role in self._find_processes(with_decoders=True).items():
            self._record_memory(process, role)

    def _record_memory(self, process: psutil.Process, role: str) -> None:
        try:
            size_bytes = process.memory_info().rss
        except psutil.Error:
            return
        self.peak_bytes[role] = max(self.peak_bytes.get(role, 0), size_bytes)

    def _find_processes(self, *, with_decoders: bool = False) -> dict[psutil.Process, str]:
        found = {}
        for process in psutil.Process(self._process.pid).children(recursive=True):
            role = _find_role(process)
            if role == _DECODER and not with_decoders:
                continue
            if role:
                found[process] = role
        return found


@contextmanager
def serve() -> Iterator[GuardedServer]:
    """Start a server in a new folder; both are gone after the block."""
    folder = Path(tempfile.mkdtemp(prefix="qasr-"))  # short: a unix socket is in it
    port = _find_free_port()
    settings = {**_SETTINGS, "PORT": str(port), "DATA_DIR": str(folder / "data")}
    command = [sys.executable, "-P", "-m", "cli", "up", "--no-setup"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=Path(__file__).parents[2],
            env={**_plain_environment(), **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield GuardedServer(process, folder, port)
    finally:
        _stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def _plain_environment() -> dict[str, str]:
    """Return this process's environment without settings that would change the server."""
    changed = {"API_KEYS", "CORS_ORIGINS", "MAX_UPLOAD_BYTES", "REDIS_URL"}
    return {name: value for name, value in os.environ.items() if name not in changed}


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()  # the kernel then kills all its parts
        process.wait()


def _find_role(process: psutil.Process) -> str | None:
    try:
        command = " ".join(process.cmdline())
        role = next((role for part, role in _ROLES.items() if part in command), None)
        parent = process.parent()
        is_forked = parent is not None and " ".join(parent.cmdline()) == command
    except psutil.Error:
        return None
    if is_forked:
        return _DECODER if role == _FORK_SERVER else None
    return role


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
