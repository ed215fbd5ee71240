"""`python -m api.webhooks`: deliver webhooks in the foreground until told to stop."""

from api.webhooks.celery_app import app
from shared.broker import DELIVERY_QUEUE_NAME
from shared.celery_process import run_in_foreground


def main() -> None:
    """Run the process; SIGTERM and SIGINT stop it."""
    run_in_foreground(app, DELIVERY_QUEUE_NAME)


if __name__ == "__main__":
    main()
