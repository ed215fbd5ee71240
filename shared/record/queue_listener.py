"""A thread that is woken when a job enters the queue, long before a ticket arrives through Celery."""

import threading
from collections.abc import Callable
from contextlib import closing

import redis
import structlog

from shared.record.connection import open_connection
from shared.record.keys import QUEUE_CHANNEL

PING_INTERVAL_S = 2.0
"""Seconds of silence after which the connection is pinged; the answer may take as long again."""

RECONNECT_S = 0.5
"""Seconds between two attempts to connect."""

_logger = structlog.get_logger(__name__)


class QueueListener:
    """Calls `wake` for each job that enters the queue, and after each new connection.

    Messages may be lost; tickets and polls replace them.
    """

    def __init__(self, redis_url: str, wake: Callable[[], None]) -> None:
        self._redis_url = redis_url
        self._wake = wake
        self._is_disconnected = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._listen_until_stopped, name="queue-listener", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end at its next message or ping."""
        self._stopped.set()

    def _listen_until_stopped(self) -> None:
        while not self._stopped.is_set():
            try:
                with closing(open_connection(self._redis_url)) as connection:
                    self._listen(connection)
            except Exception as error:  # noqa: BLE001 - border of the thread: jobs would wait for tickets
                if not self._is_disconnected:
                    _logger.warning("queue_listener_disconnected", reason=f"{type(error).__name__}: {error}")
                self._is_disconnected = True
            self._stopped.wait(RECONNECT_S)

    def _listen(self, connection: "redis.Redis") -> None:
        with connection.pubsub() as subscription:  # type: ignore[no-untyped-call]
            subscription.subscribe(QUEUE_CHANNEL)
            is_pinged = False
            while not self._stopped.is_set():
                message = subscription.get_message(timeout=PING_INTERVAL_S)
                if message is None and is_pinged:
                    raise redis.ConnectionError("the connection is silent")
                if message is None:
                    subscription.ping()
                elif message["type"] != "pong":
                    self._is_disconnected = False
                    self._wake()
                is_pinged = message is None
