"""Which Redis the local server uses: the one that REDIS_URL names, or one that it starts."""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from cli.up.readiness import ask_redis
from cli.up.redis_server import RedisServerMissing, choose_socket, redis_command, socket_url
from cli.up.settings import LocalServerSettings
from cli.up.start_errors import CannotStart


@dataclass(frozen=True)
class RedisChoice:
    """The Redis at `url`; `command` starts it, or is None where it runs already. `source` is for people."""

    url: str
    source: str
    command: Sequence[str] | None = None


@contextlib.contextmanager
def choose_redis(settings: LocalServerSettings) -> Iterator[RedisChoice]:
    """The Redis to use. A folder that had to be made for its socket is removed at the end.

    Raises:
        CannotStart: the one that was named does not answer, or none can be found.
    """
    if settings.redis_url is not None:
        yield _choose_named(settings.redis_url)
        return
    folder = settings.data_folder / "redis"
    socket = choose_socket(folder)
    try:
        command = redis_command(folder, settings.redis_fsync, socket=socket)
        yield RedisChoice(url=socket_url(socket), source=command[0], command=command)
    except RedisServerMissing as problem:
        raise CannotStart(str(problem)) from problem
    finally:
        if socket.parent != folder:
            shutil.rmtree(socket.parent, ignore_errors=True)


def _choose_named(url: str) -> RedisChoice:
    parts = urlsplit(url)
    source = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # without its password
    obstacle = asyncio.run(ask_redis(url))
    if obstacle is not None:
        raise CannotStart(f"REDIS_URL: {source} cannot be used: {obstacle}")
    return RedisChoice(url=url, source=source)
