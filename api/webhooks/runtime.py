"""The composition root of the process that delivers: an event loop on a thread beside Celery's."""

import asyncio
import threading
import time
from collections.abc import Callable

import structlog

from api.access.api_key_source import read_api_keys
from api.outbound.clients import open_guarded_async_client
from api.outbound.resolution import HostLookups
from api.settings import ApiSettings
from api.webhooks.deliverer import Deliverer
from api.webhooks.schedule import RetryPlan
from api.webhooks.sender import Sender
from api.webhooks.signing_secrets import WebhookSecrets
from shared.record.connection import open_async_connection, run_async_on

STOP_GRACE_S = 2.0
"""Seconds that deliveries under way get to end when the process stops; they are made again otherwise."""

REPORT_WITHIN_S = 5.0
"""By how much a lease is longer than a try: what reporting on it may take, while Redis is away too."""

QUICK_PART = 0.2
"""By which part of WEBHOOK_TIMEOUT_S a try of a quick receiver is over."""

BEGIN_AGAIN_S = 1.0

_logger = structlog.get_logger(__name__)


class WebhookRuntime:
    """Starts and stops the loop; a ticket only wakes it, so that Celery's own thread never waits."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deliverer: Deliverer | None = None
        self._is_stopping = False
        self._thread = threading.Thread(target=self._serve, name="deliverer", daemon=True)

    def start(self) -> None:
        """Begin to deliver, with or without tickets."""
        self._thread.start()
        _logger.info("deliverer_started")

    def serve_ticket(self) -> None:
        """Look for what is due."""
        self._tell(Deliverer.wake)

    def begin_stop(self) -> None:
        """Begin no further delivery."""
        self._is_stopping = True
        self._tell(Deliverer.stop)

    def stop(self) -> None:
        """End; returns when the deliveries under way have ended or were given up."""
        self.begin_stop()
        self._thread.join(STOP_GRACE_S + 2)

    def _tell(self, what: Callable[[Deliverer], None]) -> None:
        with self._lock:
            if self._loop is not None and self._deliverer is not None:
                self._loop.call_soon_threadsafe(what, self._deliverer)

    def _serve(self) -> None:
        while not self._is_stopping:
            try:
                asyncio.run(self._deliver())
            except Exception:  # border of the thread: without it nothing would be delivered any more
                _logger.exception("deliverer_broke")
                time.sleep(BEGIN_AGAIN_S)

    async def _deliver(self) -> None:
        settings = self._settings
        connection = open_async_connection(settings.redis_url)
        deliverer = Deliverer(
            run_async_on(connection),
            self._create_sender().send,
            RetryPlan(settings.webhook_waits_s),
            lease_s=settings.webhook_timeout_s + REPORT_WITHIN_S,
            quick_s=settings.webhook_timeout_s * QUICK_PART,
        )
        with self._lock:
            self._loop, self._deliverer = asyncio.get_running_loop(), deliverer
        if self._is_stopping:
            deliverer.stop()
        try:
            await deliverer.run(grace_s=STOP_GRACE_S)
        finally:
            with self._lock:
                self._loop = None
            await connection.aclose()

    def _create_sender(self) -> Sender:
        settings, lookups = self._settings, HostLookups()
        return Sender(
            lambda: open_guarded_async_client(
                allow_private=settings.allow_private_addresses,
                timeout_s=settings.webhook_timeout_s,
                param="webhook_url",
                resolve=lookups.resolve,
            ),
            gather_secrets(settings),
            timeout_s=settings.webhook_timeout_s,
            public_url=settings.public_url,
        )


def gather_secrets(settings: ApiSettings) -> WebhookSecrets:
    """The secret of the server and those of its API keys."""
    keys = read_api_keys(settings.api_keys.get_secret_value()).keys
    return WebhookSecrets(settings.webhook_secrets, keys.webhook_secrets)
