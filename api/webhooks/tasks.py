"""The one Celery task: a ticket without meaning, which only says that a delivery may be due."""

from api.webhooks.celery_app import app, runtime
from shared.broker import DELIVERY_TASK_NAME


@app.task(name=DELIVERY_TASK_NAME)
def deliver() -> None:
    """Look for what is due. What that is the record says, not the ticket."""
    runtime.serve_ticket()
