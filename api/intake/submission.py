"""The one way in: from the form of a request to a job in the queue."""

import asyncio
import json
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import msgspec
import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from api.access.api_keys import ApiKey
from api.access.authorization import find_api_key
from api.errors.tree import AudioTooShort, NoWorker, QueueTooLong
from api.intake.audio_intake import AudioIntake, Delivery
from api.intake.form_fields import parse_form
from api.intake.forms import SpeechForm
from api.intake.headers import read_client_timeout
from api.intake.live_workers import ask_promptly, find_workers, gather_capabilities
from api.intake.request_check import check_request
from api.intake.tickets import TicketSender
from api.middleware.request_context import note_job, note_replay
from api.settings import ApiSettings
from api.webhooks.request_check import check_webhook_url
from shared.capabilities import Capabilities
from shared.errors import AudioTooLong, QueueUnavailable
from shared.jobs import Endpoint, NewJob, Priority, Upload
from shared.record.admission import (
    Fingerprint,
    Outcome,
    Receipt,
    SubmitPolicy,
    check_admission,
    find_replay,
    make_policy,
    submit_job,
)
from shared.record.backlog import keep_shares
from shared.record.listeners import choose_lease_s
from shared.record.scripts import AsyncScriptRunner

CLEARLY = 1.5
"""A wait is only estimated: it is too long if it is so many times as long as the client has."""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that was taken in, by this request or an earlier one with its idempotency key, and the form."""

    job: NewJob
    form: SpeechForm
    is_new: bool
    """Whether it was taken in by this request."""

    is_kept: bool
    """Whether it goes on when its client leaves: with an idempotency key it can be asked for again."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A request let in. If `is_known`, its idempotency key has a job, and `offered` may be empty."""

    endpoint: Endpoint
    key: ApiKey
    terms: SubmitPolicy
    offered: frozenset[Capabilities]
    is_known: bool


class Submission:
    """Takes requests in: what it accepts is on record before it says so, what it refuses leaves no trace."""

    def __init__(
        self,
        settings: ApiSettings,
        runner: AsyncScriptRunner,
        intake: AudioIntake,
        tickets: TicketSender,
        *,
        keys: int,
    ) -> None:
        self._settings = settings
        self._limits = keep_shares(settings.queue_limits, keys=keys)
        self._runner = runner
        self._intake = intake
        self._tickets = tickets

    async def submit(
        self,
        request: Request,
        kind: type[SpeechForm],
        *,
        endpoint: Endpoint,
        idempotency_key: str | None,
        admit: Callable[[SpeechForm], None] = lambda _form: None,
    ) -> Accepted:
        """Take in the form of `request` as a job, unless its idempotency key stands for one already.

        `admit` gets the form before a job comes of it, and may refuse it by an error.

        Raises:
            NoWorker, QueueUnavailable: nothing can be taken in now.
            InvalidRequest, ModelNotFound, UploadTooLarge: this cannot be taken in.
            IdempotencyKeyReused: the key was sent before with another request.
            QueueFull, QueueTooLong: there is no room in the queue, or none that is near enough to wait for.
            StorageFull, MediaServiceDown: something is short here.
            UrlRefused, UrlUnreachable, UrlFailed, TooManyFetches: audio at a URL cannot be fetched.
            ClientDisconnect, ClientDisconnected: the client left in the middle.
        """
        entry = await self._let_in(request, endpoint, idempotency_key)
        limit_bytes = _lower(self._settings.max_upload_bytes, entry.key.limits.max_upload_bytes)
        async with self._intake.receive(
            request,
            name=uuid.uuid4().hex,
            max_bytes=limit_bytes,
            may_be_url="url" in kind.list_names(),
        ) as delivery:
            form = parse_form(kind, delivery.fields)
            admit(form)
            receipt = await self._take_in(entry, form, delivery)
        note_job(request.scope, receipt.job.job_id)
        if receipt.outcome is Outcome.REPLAYED:
            note_replay(request.scope)
        self._tickets.send()
        _logger.info(
            "job_submitted",
            endpoint=endpoint,
            outcome=receipt.outcome,
            priority=receipt.job.priority,
            duration_s=receipt.job.upload.duration_s,
        )
        return Accepted(
            receipt.job,
            form,
            is_new=receipt.outcome is not Outcome.REPLAYED,
            is_kept=idempotency_key is not None,
        )

    async def _let_in(self, request: Request, endpoint: Endpoint, idempotency_key: str | None) -> _Entry:
        """Refuse what is sure to be refused before its file arrives; the submit itself asks again."""
        key = find_api_key(request.scope)
        limits = msgspec.structs.replace(
            self._limits,
            max_unfinished_jobs_of_key=key.limits.max_unfinished_jobs,
            max_queued_audio_of_key_s=key.limits.max_queued_audio_s,
        )
        terms = make_policy(limits, key_name=key.name, idempotency_key=idempotency_key)
        workers, outlook = await asyncio.gather(
            find_workers(self._runner), ask_promptly(self._runner, check_admission(terms))
        )
        offered = gather_capabilities(workers)
        if not outlook.is_known:
            if not offered:
                raise NoWorker
            if outlook.full:
                raise outlook.full
            if endpoint is Endpoint.SYNC and idempotency_key is None:
                self._check_wait(outlook.wait_s, request)
        return _Entry(endpoint, key, terms, offered, outlook.is_known)

    def _check_wait(self, wait_s: float, request: Request) -> None:
        """Refuse what nobody would wait for, and an idempotency key would not find again."""
        limit_s = min(read_client_timeout(request.headers), self._settings.sync_wait_s or math.inf)
        if wait_s > CLEARLY * limit_s:
            raise QueueTooLong(wait_s, limit_s)

    async def _take_in(self, entry: _Entry, form: SpeechForm, delivery: Delivery) -> Receipt:
        digest = digest_request(entry.endpoint, form, delivery.sha256)
        fingerprint = Fingerprint(digest, self._settings.idempotency_ttl_s)
        receipt = await self._find_replay(entry, fingerprint)
        if receipt is None:
            asked = check_request(form, entry.offered, aliases=self._settings.model_alias_names)
            if form.webhook_url:
                check_webhook_url(form.webhook_url, entry.key, self._settings)
            upload = await self._intake.store(delivery)
            self._check_duration(upload.duration_s, entry.key)
            priority = self._classify(form, upload)
            job = NewJob(
                upload.name,
                entry.endpoint,
                priority,
                upload,
                asked,
                entry.key.name,
                metadata=form.metadata,
                webhook_url=form.webhook_url,
                has_own_secret=bool(form.webhook_url and entry.key.webhook_secret),
            )
            try:
                lease_s = self._choose_listener_lease(entry)
                call = submit_job(job, entry.terms, fingerprint, listener_lease_s=lease_s)
                receipt = await self._runner.run(call)
            except (QueueUnavailable, asyncio.CancelledError):
                # The job may be in the queue all the same. If it is not, the sweeper deletes its file.
                delivery.file.keep()
                raise
        if receipt.outcome is Outcome.REPLAYED:
            await run_in_threadpool(delivery.file.discard)
        return receipt

    async def _find_replay(self, entry: _Entry, fingerprint: Fingerprint) -> Receipt | None:
        """The job of the idempotency key, if it was known before: nothing about it is to be checked again."""
        if not entry.is_known or entry.terms.idempotency_key is None:
            return None
        job = await self._runner.run(find_replay(entry.terms.idempotency_key, fingerprint))
        return Receipt(Outcome.REPLAYED, job) if job else None

    def _choose_listener_lease(self, entry: _Entry) -> float:
        """Return the seconds of the job's listener lease; 0 where an idempotency key finds the job again."""
        if entry.terms.idempotency_key is not None:
            return 0.0
        return choose_lease_s(entry.endpoint, resume_s=self._settings.stream_resume_s)

    def _check_duration(self, duration_s: float, key: ApiKey) -> None:
        if duration_s < self._settings.min_audio_s:
            raise AudioTooShort(self._settings.min_audio_s)
        if key.limits.max_audio_s is not None and duration_s > key.limits.max_audio_s:
            raise AudioTooLong(key.limits.max_audio_s)

    def _classify(self, form: SpeechForm, upload: Upload) -> Priority:
        if upload.duration_s > self._settings.interactive_max_audio_s:
            return Priority.BATCH
        return form.priority


def _lower(setting: int, limit: int | None) -> int:
    return setting if limit is None else min(setting, limit)


def digest_request(endpoint: Endpoint, form: SpeechForm, file_sha256: str) -> str:
    """Return the digest of a request: equal for the same endpoint, fields and file, however it is written."""
    # Without defaults, a field that a later version adds does not change the digest of old requests.
    asked = form.model_dump(exclude_defaults=True)
    canonical = json.dumps([endpoint, file_sha256, asked], sort_keys=True, default=sorted)
    return sha256(canonical.encode()).hexdigest()
