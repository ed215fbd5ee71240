"""`python -m api.webhooks.health_check`: exit code 0 if what delivers on this machine is alive."""

import socket
import sys

from api.settings import ApiSettings
from shared.errors import QueueUnavailable
from shared.record.connection import connect
from shared.record.deliveries import read_deliverers


def main() -> int:
    """Look once; what is in the way goes to the terminal."""
    host = socket.gethostname()
    try:
        deliverers = connect(ApiSettings().redis_url).run(read_deliverers())
    except QueueUnavailable as problem:
        sys.stderr.write(f"{problem.message}\n")
        return 1
    is_alive = any(deliverer.startswith(f"{host}:") for deliverer in deliverers)
    if not is_alive:
        sys.stderr.write("nothing on this host has looked for deliveries of late\n")
    return 0 if is_alive else 1


if __name__ == "__main__":
    sys.exit(main())
