"""The Celery app of the process that delivers: its signals start and stop the runtime."""

from api.settings import ApiSettings
from api.webhooks.runtime import WebhookRuntime
from shared.broker import create_celery
from shared.celery_process import connect_runtime

settings = ApiSettings()
app = create_celery(settings.redis_url)
app.conf.imports = ("api.webhooks.tasks",)
runtime = WebhookRuntime(settings)
connect_runtime(runtime, log_level=settings.log_level)
