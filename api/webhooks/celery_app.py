"""The Celery app of the process that delivers: its signals start and stop the runtime."""

from typing import Any

from celery import signals

from api.settings import ApiSettings
from api.webhooks.runtime import WebhookRuntime
from shared.broker import create_celery
from shared.logs import configure_logging

settings = ApiSettings()
app = create_celery(settings.redis_url)
app.conf.imports = ("api.webhooks.tasks",)
runtime = WebhookRuntime(settings)


@signals.setup_logging.connect
def on_setup_logging(**_: Any) -> None:
    """Keep Celery from setting up a logging of its own: with a listener here, it leaves that alone."""


@signals.worker_init.connect
def on_worker_init(**_: Any) -> None:
    """Deliver from the start, before there is a connection to the broker."""
    configure_logging(settings.log_level)
    runtime.start()


@signals.worker_shutting_down.connect
def on_worker_shutting_down(**_: Any) -> None:
    """Begin nothing more."""
    runtime.begin_stop()


@signals.worker_shutdown.connect
def on_worker_shutdown(**_: Any) -> None:
    """End what the process consists of."""
    runtime.stop()
