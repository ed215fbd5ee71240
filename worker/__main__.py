"""`python -m worker`: run one worker in the foreground until it is told to stop."""

import warnings

from shared.broker import QUEUE_NAME, SILENCE
from worker.celery_app import app


def main() -> None:
    """Run the worker; SIGTERM and SIGINT stop it after the running window."""
    # It warns root of pickled messages; a ticket is JSON without any content.
    warnings.filterwarnings("ignore", message=r"\s*You're running the worker with superuser privileges")
    app.worker_main(["--quiet", "worker", "--pool=solo", f"--queues={QUEUE_NAME}", *SILENCE])


if __name__ == "__main__":
    main()
