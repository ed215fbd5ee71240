"""`python -m worker`: run one worker in the foreground until SIGTERM or SIGINT."""

from shared.broker import QUEUE_NAME, TASK_NAME, create_celery
from shared.celery_process import connect_runtime, run_in_foreground
from worker.runtime import WorkerRuntime
from worker.settings import WorkerSettings


def main() -> None:
    """Run the worker. Celery's signals start and stop its runtime, which does the work."""
    settings = WorkerSettings()
    app = create_celery(settings.redis_url)
    runtime = WorkerRuntime(settings, app)

    @app.task(name=TASK_NAME)
    def transcribe() -> None:
        """Run the queued jobs. A ticket names no job: the job record decides which comes next."""
        runtime.serve_ticket()

    connect_runtime(runtime, log_level=settings.log_level)
    run_in_foreground(app, QUEUE_NAME)


if __name__ == "__main__":
    main()
