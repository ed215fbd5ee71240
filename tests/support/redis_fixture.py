"""A real Redis server for tests, on a unix socket, empty for each test."""

import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from cli.up.redis_server import redis_command, socket_url

START_WITHIN_S = 20.0


class RedisServer:
    """One server process; it can be killed and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = socket_url(folder / "redis.sock")

    def start(self) -> None:
        """Start the server; returns when it answers."""
        self._process = subprocess.Popen(
            redis_command(self._folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_WITHIN_S
        while not self._answers():
            assert self._process.poll() is None, "the Redis server ended at once"
            assert time.monotonic() < deadline, "the Redis server does not answer"
            time.sleep(0.01)

    def kill(self) -> None:
        """End the server as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Let the server fall silent with all its connections open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """End a freeze."""
        self._signal(signal.SIGCONT)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Within the block a script of somebody else does not end, and every call is refused by BUSY."""
        with redis.Redis.from_url(self.url) as connection:
            connection.config_set("lua-time-limit", 1)
            spinning = threading.Thread(target=self._spin, daemon=True)
            spinning.start()
            while not self._is_busy(connection):
                time.sleep(0.01)
            try:
                yield
            finally:
                connection.script_kill()
                spinning.join()

    def flush(self) -> None:
        """Forget all keys."""
        with redis.Redis.from_url(self.url) as connection:
            connection.flushall()

    def _spin(self) -> None:
        patient = redis.Redis.from_url(self.url, socket_timeout=None)
        with patient as connection, suppress(redis.ResponseError):  # it is killed
            connection.eval("while true do end", 0)

    @staticmethod
    def _is_busy(connection: "redis.Redis") -> bool:
        try:
            connection.ping()
        except redis.ResponseError:
            return True
        return False

    def _signal(self, signal_number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(signal_number)

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url) as connection:
            try:
                return bool(connection.ping())
            except redis.ConnectionError:
                return False


@pytest.fixture(scope="session")
def session_redis() -> Iterator[RedisServer]:
    """One server for all tests that leave it running."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        yield server
        server.kill()


@pytest.fixture
def redis_url(session_redis: RedisServer) -> str:
    """The URL of a real, empty Redis server."""
    session_redis.flush()
    return session_redis.url


@pytest.fixture
def mortal_redis() -> Iterator[RedisServer]:
    """A server of its own, for a test that kills it."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        yield server
        server.kill()
