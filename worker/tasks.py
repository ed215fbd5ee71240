"""The one Celery task: a ticket without meaning, which only says that a job may be waiting."""

from shared.broker import TASK_NAME
from worker.celery_app import app, runtime


@app.task(name=TASK_NAME)
def transcribe() -> None:
    """Do what is queued. Which job that is the queue says, not the ticket."""
    runtime.serve_ticket()
