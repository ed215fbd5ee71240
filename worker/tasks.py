"""The only Celery task: a ticket, which means that a job may be waiting."""

from shared.broker import TASK_NAME
from worker.celery_app import app, runtime


@app.task(name=TASK_NAME)
def transcribe() -> None:
    """Run the queued jobs. The job record decides which; the ticket names none."""
    runtime.serve_ticket()
