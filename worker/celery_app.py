"""The worker's Celery app, whose signals start and stop the runtime that does the work."""

from shared.broker import create_celery
from shared.celery_process import connect_runtime
from worker.runtime import WorkerRuntime
from worker.settings import WorkerSettings

settings = WorkerSettings()
app = create_celery(settings.redis_url)
app.conf.imports = ("worker.tasks",)
runtime = WorkerRuntime(settings, app)
connect_runtime(runtime, log_level=settings.log_level)
