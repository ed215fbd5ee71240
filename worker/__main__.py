"""`python -m worker`: run one worker in the foreground until a signal stops it."""

from shared.broker import QUEUE_NAME
from shared.celery_process import run_in_foreground
from worker.celery_app import app


def main() -> None:
    """Run the worker. SIGTERM and SIGINT stop it after the running window."""
    run_in_foreground(app, QUEUE_NAME)


if __name__ == "__main__":
    main()
