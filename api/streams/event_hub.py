"""One pub/sub connection for the whole process. It wakes the listeners of a job that has new events."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import redis.asyncio
import structlog
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.record.keys import DELIVERIES_CHANNEL, END_MESSAGE, job_of_channel, wake_up_channel

PING_INTERVAL_S = 5.0
"""Seconds of silence after which the connection is pinged; the answer may take as long again."""

RECONNECT_S = (0.05, 0.2, 0.5, 1.0)
"""Seconds to wait before a new connection, after the first, second, third and later failures in a row."""

MAX_ENDED = 1_024
"""The number of jobs whose end is remembered, for listeners that begin right after the submit.

Far more than end while a busy event loop delays such a listener: a forgotten end would cost it RECHECK_S.
"""

_logger = structlog.get_logger(__name__)


class EventHub:
    """Wakes the listeners of this process. A wake-up is a flag without content: read the record again.

    A listener that waits only for the end of a job is not woken by other events.
    """

    def __init__(self, redis_url: str) -> None:
        # A single connection without automatic retries: the hub must notice every gap in it.
        pool = redis.asyncio.ConnectionPool.from_url(
            redis_url, max_connections=1, socket_connect_timeout=3, socket_timeout=PING_INTERVAL_S
        )
        self._connection = redis.asyncio.Redis.from_pool(pool)
        self._listeners: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._waiting_for_end: set[asyncio.Event] = set()
        self._ended: deque[str] = deque(maxlen=MAX_ENDED)
        self._failures = 0
        self.is_closed = False
        self.deliveries_due = asyncio.Event()
        """Set whenever a webhook delivery may be due; the task that delivers clears it before it looks."""

    @contextmanager
    def listen(self, job_id: str, *, only_for_end: bool = False) -> Iterator[asyncio.Event]:
        """Yield a flag that is set whenever the job may have new events or its end; clear it, then read.

        It is set at once if the job has just ended.
        """
        wake_up = asyncio.Event()
        if job_id in self._ended:
            wake_up.set()
        self._listeners[job_id].add(wake_up)
        if only_for_end:
            self._waiting_for_end.add(wake_up)
        try:
            yield wake_up
        finally:
            self._waiting_for_end.discard(wake_up)
            self._listeners[job_id].remove(wake_up)
            if not self._listeners[job_id]:
                del self._listeners[job_id]

    @property
    def job_ids(self) -> tuple[str, ...]:
        """The jobs that clients of this process listen to."""
        return tuple(self._listeners)

    @property
    def is_disconnected(self) -> bool:
        """Whether the connection is broken."""
        return bool(self._failures)

    def close(self) -> None:
        """Note that the process is about to stop, and wake all listeners."""
        self.is_closed = True
        self._wake_all()

    async def run(self) -> NoReturn:
        """Keep the connection up until cancelled."""
        while True:
            try:
                await self._receive_wake_ups()
            except Exception as error:  # noqa: BLE001 - a border: without the hub every listener would be late
                self._on_disconnected(error)
            await asyncio.sleep(RECONNECT_S[min(self._failures, len(RECONNECT_S)) - 1])

    async def _receive_wake_ups(self) -> NoReturn:
        async with self._connection.pubsub() as subscription:
            await subscription.subscribe(DELIVERIES_CHANNEL)
            await subscription.psubscribe(wake_up_channel("*"))
            while True:
                self._on_message(await _next_message(subscription))

    def _on_message(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "pmessage":
                is_end = message["data"] == END_MESSAGE
                job_id = job_of_channel(message["channel"].decode())
                if is_end:
                    self._ended.append(job_id)
                self._wake(job_id, is_end=is_end)
            case "message":
                self.deliveries_due.set()
            case "psubscribe":
                _logger.info("event_hub_connected")
                self._failures = 0
                self._wake_all()

    def _on_disconnected(self, error: Exception) -> None:
        if not self.is_disconnected:
            _logger.warning("event_hub_disconnected", reason=f"{type(error).__name__}: {error}")
        self._failures += 1

    def _wake(self, job_id: str, *, is_end: bool) -> None:
        for wake_up in self._listeners.get(job_id, ()):
            if is_end or wake_up not in self._waiting_for_end:
                wake_up.set()

    def _wake_all(self) -> None:
        self.deliveries_due.set()
        for job_id in self._listeners:
            self._wake(job_id, is_end=True)


async def _next_message(subscription: PubSub) -> dict[str, Any]:
    message = await _read_message(subscription)
    if message is None:
        await subscription.ping()
        message = await _read_message(subscription)
    if message is None:
        raise RedisConnectionError("the connection is silent")
    return dict(message)


async def _read_message(subscription: PubSub) -> dict[str, Any] | None:
    message: dict[str, Any] | None = await subscription.get_message(timeout=PING_INTERVAL_S)
    # redis-py swallows a cancel that coincides with its time-out, and the task would then never end.
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    return message
