"""The worker's Celery app: its signals start and stop the runtime, which does the work."""

from typing import Any

from celery import signals

from shared.broker import create_celery
from shared.logs import configure_logging
from worker.runtime import WorkerRuntime
from worker.settings import WorkerSettings

settings = WorkerSettings()
app = create_celery(settings.redis_url)
app.conf.imports = ("worker.tasks",)
runtime = WorkerRuntime(settings, app)


@signals.setup_logging.connect
def on_setup_logging(**_: Any) -> None:
    """Keep Celery from setting up a logging of its own: with a listener here, it leaves that alone."""


@signals.worker_init.connect
def on_worker_init(**_: Any) -> None:
    """Serve from the start, before there is a connection to the broker."""
    configure_logging(settings.log_level)
    runtime.start()


@signals.worker_shutting_down.connect
def on_worker_shutting_down(**_: Any) -> None:
    """Let the running job go: the solo pool alone would wait for all of it."""
    runtime.begin_stop()


@signals.worker_shutdown.connect
def on_worker_shutdown(**_: Any) -> None:
    """End what the process consists of."""
    runtime.stop()
