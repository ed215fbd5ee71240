"""Tickets over Celery: its configuration, and the sending of a ticket.

A ticket only means "check the queue". Losing or doubling one does no harm, because the job record holds
the job and its place in the queue. Celery on Redis alone would lose jobs: about one message in four when
processes are killed.
"""

import asyncio
import contextvars

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

QUEUE_NAME = "transcription"
TASK_NAME = "worker.tasks.transcribe"

TICKET_DELAY_S = 0.25
"""Seconds in which one ticket serves all jobs. Workers are woken at once, so the ticket is seldom first."""

_logger = structlog.get_logger(__name__)


def create_celery(redis_url: str) -> Celery:
    """Return a Celery app on the given Redis, configured to recover from faults. It does not connect yet."""
    celery = Celery("qwen3-asr", broker=to_kombu_url(redis_url))
    celery.conf.update(
        worker_pool="solo",
        worker_concurrency=1,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_default_queue=QUEUE_NAME,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A Redis with a full disk refuses writes with a channel error, which would otherwise end the worker.
        broker_channel_error_retry=True,
        broker_transport_options={
            "visibility_timeout": 60,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "health_check_interval": 10,
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
        },
    )
    return celery


def to_kombu_url(redis_url: str) -> str:
    """Return the broker URL for `redis_url`, which may name a unix socket (`unix://path?db=0`)."""
    if not redis_url.startswith("unix://"):
        return redis_url
    path, _, query = redis_url.removeprefix("unix://").partition("?")
    database = dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair).get("db", "0")
    return f"redis+socket://{path}?virtual_host={database}"


def send_ticket(celery: Celery) -> bool:
    """Send a worker to the queue; return false if the broker does not answer.

    A ticket that cannot be sent is not lost work: workers also check the queue without one.
    """
    try:
        celery.send_task(TASK_NAME, queue=QUEUE_NAME, retry=False, ignore_result=True)
    except OperationalError as error:
        _logger.warning("ticket_not_sent", reason=str(error))
        return False
    return True


class TicketSender:
    """Sends tickets on a thread, on behalf of an event loop: one for all jobs within TICKET_DELAY_S."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery
        self._is_due = False

    def send_soon(self) -> None:
        """Send a ticket for a job that is now in the queue. It is not awaited, since it may be lost."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(TICKET_DELAY_S, self._send)

    def _send(self) -> None:
        self._is_due = False
        send = contextvars.copy_context().run
        asyncio.get_running_loop().run_in_executor(None, send, send_ticket, self._celery)
