"""Delivers what is due: many deliveries at once, but only a few to one receiver."""

import asyncio
import os
import socket
import time
import uuid
from collections.abc import Awaitable, Callable

import structlog

from api.webhooks.schedule import Fate, RetryPlan
from api.webhooks.sender import Answer
from api.webhooks.slots import MAX_AT_ONCE, Slots
from shared.errors import QueueUnavailable
from shared.jobs import DeliveryOutcome
from shared.record.deliveries import (
    ClaimTerms,
    Delivery,
    NoneDue,
    Standing,
    claim_delivery,
    end_delivery,
    put_delivery_off,
)
from shared.record.scripts import AsyncScriptRunner, ScriptCall

LOOK_INTERVAL_S = 0.5
"""How often the record is looked at without a ticket, should tickets be lost or the broker be slow."""

REPORT_AGAIN_S = 0.5

_BROKEN = Answer(DeliveryOutcome(error="Something went wrong in this server."), Fate.RETRY)

_logger = structlog.get_logger(__name__)


class Deliverer:
    """Runs on one event loop, from `run` until `stop`; what it leased and did not report comes due again."""

    def __init__(
        self,
        runner: AsyncScriptRunner,
        send: Callable[[Delivery], Awaitable[Answer]],
        plan: RetryPlan,
        *,
        lease_s: float,
        quick_s: float,
    ) -> None:
        self._runner = runner
        self._send = send
        self._plan = plan
        self._quick_s = quick_s
        deliverer_id = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._terms = ClaimTerms(lease_s, plan.most_tries, deliverer_id, plan.longest_s)
        self._room = asyncio.Semaphore(MAX_AT_ONCE)
        self._slots = Slots()
        self._woken = asyncio.Event()
        self._stopped = asyncio.Event()
        self._tries: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Look at the record now."""
        self._woken.set()

    def stop(self) -> None:
        """Begin no further try."""
        self._stopped.set()
        self._woken.set()

    async def run(self, *, grace_s: float) -> None:
        """Deliver until `stop`; tries that are under way then get `grace_s` seconds to end."""
        while not self._stopped.is_set():
            await self._room.acquire()
            found = await self._claim_next()
            if isinstance(found, Delivery):
                self._begin(found)
            else:
                self._room.release()
                await self._rest(found)
        if self._tries:
            await asyncio.wait(self._tries, timeout=grace_s)
        for task in self._tries:
            task.cancel()
        await asyncio.gather(*self._tries, return_exceptions=True)

    async def _claim_next(self) -> Delivery | NoneDue:
        self._woken.clear()
        closed = self._slots.find_closed()
        try:
            return await self._runner.run(claim_delivery(uuid.uuid4().hex, self._terms, closed))
        except QueueUnavailable:
            _logger.warning("look_skipped", reason="the queue does not answer")
        except Exception:  # the border of the loop: whatever it is, the next look may find it mended
            _logger.exception("look_failed")
        return NoneDue(LOOK_INTERVAL_S)

    async def _rest(self, found: NoneDue) -> None:
        wait_s = LOOK_INTERVAL_S if found.next_s is None else min(found.next_s, LOOK_INTERVAL_S)
        try:
            async with asyncio.timeout(wait_s):
                await self._woken.wait()
        except TimeoutError:
            return

    def _begin(self, delivery: Delivery) -> None:
        self._slots.take(delivery)
        task = asyncio.create_task(self._deliver(delivery))
        self._tries.add(task)
        task.add_done_callback(self._tries.discard)

    async def _deliver(self, delivery: Delivery) -> None:
        began_s = time.monotonic()
        try:
            answer = await self._try_to_send(delivery)
            is_quick = time.monotonic() - began_s < self._quick_s
            await self._report(delivery, answer, Standing.QUICK if is_quick else Standing.SLOW)
        except Exception:  # the border of a try: it is on record, and comes due again
            _logger.exception("delivery_unreported", job_id=delivery.job_id)
        finally:
            self._slots.free(delivery)
            self._room.release()
            self._woken.set()

    async def _try_to_send(self, delivery: Delivery) -> Answer:
        try:
            return await self._send(delivery)
        except Exception:  # the border of a try: a receiver must not be able to stop all others
            _logger.exception("delivery_broken", job_id=delivery.job_id)
            return _BROKEN

    async def _report(self, delivery: Delivery, answer: Answer, standing: Standing) -> None:
        wait_s = None
        if answer.fate is Fate.RETRY:
            wait_s = self._plan.choose_wait(delivery.claim_no, retry_after_s=answer.retry_after_s)
        if wait_s is None:
            report = end_delivery(delivery, answer.outcome, standing)
        else:
            report = put_delivery_off(delivery, answer.outcome, standing, wait_s=wait_s)
        reported = await self._run_patiently(report)
        _logger.info(
            "webhook_tried",
            job_id=delivery.job_id,
            attempt=delivery.claim_no,
            fate=answer.fate.value,
            status=answer.outcome.status,
            error=answer.outcome.error,
            reported=reported,
        )

    async def _run_patiently(self, call: ScriptCall[str]) -> str:
        while True:
            try:
                return await self._runner.run(call)
            except QueueUnavailable:
                await asyncio.sleep(REPORT_AGAIN_S)
