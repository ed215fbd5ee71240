"""Sending tickets to workers, off the event loop and without anybody waiting for it."""

import asyncio

from celery import Celery

from shared.broker import send_ticket


class TicketSender:
    """Sends each ticket on a thread; one that fails is no loss, since workers also look by themselves."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery
        self._sending: set[asyncio.Task[bool]] = set()

    def send(self) -> None:
        """Begin to send a ticket."""
        task = asyncio.create_task(asyncio.to_thread(send_ticket, self._celery))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
