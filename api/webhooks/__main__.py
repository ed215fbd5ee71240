"""`python -m api.webhooks`: deliver webhooks in the foreground until told to stop."""

import warnings

from api.webhooks.celery_app import app
from shared.broker import DELIVERY_QUEUE_NAME, SILENCE


def main() -> None:
    """Run the process; SIGTERM and SIGINT stop it."""
    # It warns root of pickled messages; a ticket is JSON without any content.
    warnings.filterwarnings("ignore", message=r"\s*You're running the worker with superuser privileges")
    app.worker_main(["--quiet", "worker", "--pool=solo", f"--queues={DELIVERY_QUEUE_NAME}", *SILENCE])


if __name__ == "__main__":
    main()
