"""`python -m worker.health_check`: exit code 0 if the worker of this machine or container is alive."""

import socket
import sys

from shared.errors import QueueUnavailable
from shared.record.connection import connect
from shared.record.workers import read_workers
from shared.settings import SharedSettings
from shared.start_settings import load_settings


def main() -> int:
    """Check once, print the problem if there is one, and return the exit code."""
    try:
        workers = connect(load_settings(SharedSettings).redis_url).run(read_workers())
    except QueueUnavailable as problem:
        sys.stderr.write(f"{problem.message}\n")
        return 1
    if any(worker.worker_id.startswith(f"{socket.gethostname()}:") for worker in workers):
        return 0
    sys.stderr.write("no worker of this host is announced\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
