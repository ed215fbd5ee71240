"""The task that delivers webhooks: many attempts at once, but few to one host."""

import asyncio
import uuid
from collections import Counter
from contextlib import suppress
from typing import NoReturn

import structlog

from api.access.api_keys import ApiKeys
from api.access.signing_secrets import WebhookSecrets
from api.outbound.clients import open_guarded_async_client
from api.outbound.urls import UrlRule
from api.settings import ApiSettings
from api.webhooks.retry_plan import RetryPlan, Verdict
from api.webhooks.sender import Answer, Sender
from shared.errors import QueueUnavailable
from shared.jobs import DeliveryOutcome
from shared.record.deliveries import (
    ClaimTerms,
    Delivery,
    NoneDue,
    claim_delivery,
    report_delivery,
)
from shared.record.scripts import AsyncScriptRunner, ScriptCall

MAX_ATTEMPTS_AT_ONCE = 128
"""The most attempts under way in one api process."""

MAX_ATTEMPTS_PER_HOST = 4
"""The most of them to one host, on all its ports. So 31 hosts that hang leave places for others."""

MAX_REST_S = 15.0
"""Seconds after which the record is looked at without a wake-up, should one be lost with its connection."""

REPORT_WITHIN_S = 5.0
"""Seconds by which a lease is longer than its attempt, for the report, which Redis may keep waiting."""

OVERDUE_S = 259_200.0
"""Seconds beyond its plan after which a delivery is given up, such as one of many to a slow host."""

REDIS_RETRY_S = 0.5

CANCEL_WITHIN_S = 1.0

_BROKEN = Answer(DeliveryOutcome(error="An internal error occurred."), Verdict.RETRY)

_logger = structlog.get_logger(__name__)


class Deliverer:
    """Attempts due deliveries on one event loop. An attempt that is never reported comes due again."""

    def __init__(
        self,
        runner: AsyncScriptRunner,
        sender: Sender,
        plan: RetryPlan,
        terms: ClaimTerms,
        *,
        wake_up: asyncio.Event,
    ) -> None:
        self._runner = runner
        self._sender = sender
        self._plan = plan
        self._terms = terms
        self._unsigned = 0
        self._wake_up = wake_up
        self._attempts: dict[asyncio.Task[None], str] = {}
        """Each attempt under way, with its host."""

    async def run(self) -> NoReturn:
        """Begin attempts until cancelled; `finish` then ends those under way."""
        while True:
            self._wake_up.clear()
            rest_s = await self._begin_due()
            with suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self._wake_up.wait()

    async def finish(self, *, grace_s: float) -> None:
        """Give the attempts under way `grace_s` seconds, then cancel them; their leases end later."""
        await self._wait_for_attempts(grace_s)
        for attempt in self._attempts:
            attempt.cancel()
        await self._wait_for_attempts(CANCEL_WITHIN_S)
        await self._sender.close()

    async def _wait_for_attempts(self, timeout_s: float) -> None:
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=timeout_s)

    async def _begin_due(self) -> float:
        """Begin all attempts that are due and have a place. Return the seconds until the next look."""
        try:
            while len(self._attempts) < MAX_ATTEMPTS_AT_ONCE:
                claim = claim_delivery(uuid.uuid4().hex, self._terms, self._find_full_hosts())
                found = await self._runner.run(claim)
                if isinstance(found, NoneDue):
                    self._warn_of_unsigned(found.unsigned)
                    return MAX_REST_S if found.next_s is None else min(found.next_s, MAX_REST_S)
                self._begin(found)
        except QueueUnavailable:
            _logger.warning("delivery_claim_skipped", reason="Redis does not answer")
            return REDIS_RETRY_S
        except Exception:  # the border of the task: without it nothing is delivered until a restart
            _logger.exception("delivery_claim_failed")
            return REDIS_RETRY_S
        return MAX_REST_S  # the end of an attempt frees a place earlier

    def _warn_of_unsigned(self, count: int) -> None:
        if count > self._unsigned:
            remedy = "give all apis the same WEBHOOK_SECRET and API_KEYS"
            _logger.warning("deliveries_unsigned", count=count, remedy=remedy)
        self._unsigned = count

    def _find_full_hosts(self) -> list[str]:
        attempts = Counter(self._attempts.values())
        return [host for host, count in attempts.items() if count >= MAX_ATTEMPTS_PER_HOST]

    def _begin(self, delivery: Delivery) -> None:
        def end(attempt: asyncio.Task[None]) -> None:
            del self._attempts[attempt]
            self._wake_up.set()

        attempt = asyncio.create_task(self._attempt(delivery))
        self._attempts[attempt] = delivery.new_job.receiver
        attempt.add_done_callback(end)

    async def _attempt(self, delivery: Delivery) -> None:
        try:
            answer = await self._sender.send(delivery)
        except Exception:  # the border of an attempt: it fails, and is reported as such
            _logger.exception("delivery_broken", job_id=delivery.job_id)
            answer = _BROKEN
        try:
            await self._report(delivery, answer)
        except Exception:  # the border of a report: the lease ends, and the delivery comes due again
            _logger.exception("delivery_unreported", job_id=delivery.job_id)

    async def _report(self, delivery: Delivery, answer: Answer) -> None:
        wait_s = None
        if answer.verdict is Verdict.RETRY:
            wait_s = self._plan.choose_wait(delivery.claim_no, retry_after_s=answer.retry_after_s)
        reported = await self._run_patiently(report_delivery(delivery, answer.outcome, wait_s=wait_s))
        facts = {
            "host": delivery.new_job.receiver,
            "attempt": delivery.claim_no,
            "verdict": answer.verdict.value if reported != "stale" else reported,
            "status": answer.outcome.status,
            "error": answer.outcome.error,
            "reason": answer.refusal.value if answer.refusal else None,
            "next_in_s": wait_s,
        }
        known = {name: fact for name, fact in facts.items() if fact is not None}
        _logger.info("webhook_attempted", job_id=delivery.job_id, **known)

    async def _run_patiently(self, call: ScriptCall[str]) -> str:
        while True:
            try:
                return await self._runner.run(call)
            except QueueUnavailable:
                await asyncio.sleep(REDIS_RETRY_S)


def open_deliverer(
    settings: ApiSettings, keys: ApiKeys, runner: AsyncScriptRunner, *, wake_up: asyncio.Event
) -> Deliverer:
    """Return the deliverer of an api process; `wake_up` is set whenever a delivery may be due."""
    secrets = WebhookSecrets(settings.webhook_secrets, keys.webhook_secrets)
    rule = UrlRule(settings.allow_private_addresses, "webhook_url")
    sender = Sender(
        lambda: open_guarded_async_client(rule, timeout_s=settings.webhook_timeout_s),
        secrets,
        timeout_s=settings.webhook_timeout_s,
        public_url=settings.public_url,
    )
    plan = RetryPlan(settings.webhook_retries_s)
    terms = ClaimTerms(
        settings.webhook_timeout_s + REPORT_WITHIN_S,
        plan.max_attempts,
        give_up_s=plan.longest_s + OVERDUE_S,
        has_server_secret=bool(secrets.of_server),
        signing_keys=frozenset(secrets.of_keys),
    )
    return Deliverer(runner, sender, plan, terms, wake_up=wake_up)
