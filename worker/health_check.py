"""`python -m worker.health_check`: exit code 0 if the worker of this machine or container is alive."""

import socket
import sys

from shared.errors import QueueUnavailable
from shared.record.connection import connect
from shared.record.workers import read_workers
from shared.settings import SharedSettings


def is_announced(redis_url: str, host: str) -> bool:
    """Return whether a live worker on `host` is in the record.

    Raises:
        QueueUnavailable: Redis does not answer.
    """
    workers = connect(redis_url).run(read_workers())
    return any(worker.worker_id.startswith(f"{host}:") for worker in workers)


def main() -> int:
    """Check once, print the problem if there is one, and return the exit code."""
    try:
        is_alive = is_announced(SharedSettings().redis_url, socket.gethostname())
    except QueueUnavailable as problem:
        sys.stderr.write(f"{problem.message}\n")
        return 1
    if not is_alive:
        sys.stderr.write("no worker of this host is announced\n")
    return 0 if is_alive else 1


if __name__ == "__main__":
    sys.exit(main())
