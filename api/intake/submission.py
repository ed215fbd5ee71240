"""From the form of a request to a job in the queue; all endpoints that create jobs use this path."""

import asyncio
import math
import uuid
from dataclasses import dataclass

import msgspec
import structlog
from starlette.requests import Request

from api.access.api_keys import ApiKey
from api.access.client_presence import run_while_connected
from api.access.request_state import find_state
from api.access.stream_slots import StreamSlots
from api.errors.tree import AudioTooShort, NoWorker, QueueTooLong
from api.intake.form_body import FormBody
from api.intake.form_fields import parse_form
from api.intake.forms import SpeechForm
from api.intake.headers import read_client_timeout, refuse_query
from api.intake.ignored_fields import find_ignored, log_ignored, name_ignored
from api.intake.live_workers import ask_promptly, gather_capabilities
from api.intake.request_check import check_request, check_webhook_url
from api.intake.uploads import IncomingUpload, UploadIntake, finish_in_thread
from api.settings import ApiSettings
from shared.broker import TicketSender
from shared.capabilities import Capabilities
from shared.errors import AudioTooLong, InvalidRequest, QueueUnavailable
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
from shared.record.backlog import QueueLimits
from shared.record.listeners import choose_lease_s
from shared.record.scripts import AsyncScriptRunner

CLEARLY = 1.5
"""A wait is only estimated. A queue is too long if its wait exceeds the client's limit by this factor."""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The job of a request and its form. The job is not new if an idempotency key had it already."""

    job: NewJob
    form: SpeechForm
    is_new: bool


@dataclass(frozen=True, slots=True)
class _Admission:
    """The terms of an admitted request. If its idempotency key `is_known`, `offered` may be empty."""

    endpoint: Endpoint
    key: ApiKey
    policy: SubmitPolicy
    offered: frozenset[Capabilities]
    max_bytes: int
    listener_lease_s: float
    is_known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Turns requests into jobs. Accepted jobs are stored before the answer; refused ones leave no trace."""

    settings: ApiSettings
    limits: QueueLimits
    runner: AsyncScriptRunner
    uploads: UploadIntake
    slots: StreamSlots
    tickets: TicketSender

    async def submit(
        self, request: Request, kind: type[SpeechForm], *, endpoint: Endpoint, idempotency_key: str | None
    ) -> Accepted:
        """Make a job of the form in `request`, or return the job that its idempotency key has already.

        Raises:
            NoWorker, QueueUnavailable: no worker or no Redis answers.
            InvalidRequest, ModelNotFound, UploadTooLarge: the request itself is refused.
            IdempotencyKeyReused: an earlier request with the same key was a different one.
            QueueFull, QueueTooLong: the queue has no room, or its wait is longer than the client's timeout.
            TooManyStreams: the answer would be a stream, and no slot is free.
            StorageFull, MediaServiceDown: the disk is full, or the sandboxed decoder does not answer.
            UrlRefused, UrlUnreachable, UrlFailed, TooManyFetches: the audio at a URL cannot be fetched.
            ClientDisconnect, ClientDisconnected: the client disconnected before the job was accepted.
        """
        refuse_query(request)
        state = find_state(request.scope)
        admission = await self._admit(request, endpoint, idempotency_key)
        async with self.uploads.begin(uuid.uuid4().hex) as upload:
            form = await self._receive(request, kind, upload, max_bytes=admission.max_bytes)
            receipt = await self._find_replay(admission, form, upload)
            if receipt is None:
                receipt = await self._accept(request, admission, form, upload)
            is_new = receipt.outcome is not Outcome.REPLAYED
            if not is_new:
                await upload.discard()
        state.note_job(receipt.job.job_id)
        state.is_replay = not is_new
        self.tickets.send_soon()
        _logger.info(
            "job_submitted",
            endpoint=endpoint,
            outcome=receipt.outcome,
            priority=receipt.job.priority,
            duration_s=receipt.job.upload.duration_s,
        )
        return Accepted(receipt.job, form, is_new)

    async def _admit(self, request: Request, endpoint: Endpoint, idempotency_key: str | None) -> _Admission:
        """Refuse early what the submit would refuse after the upload. The submit checks again."""
        key = find_state(request.scope).api_key
        limits = msgspec.structs.replace(
            self.limits,
            max_unfinished_jobs_of_key=key.limits.max_unfinished_jobs,
            max_queued_audio_of_key_s=key.limits.max_queued_audio_s,
        )
        policy = make_policy(limits, key_name=key.name, idempotency_key=idempotency_key)
        forecast = await ask_promptly(self.runner, check_admission(policy))
        offered = gather_capabilities(forecast.workers)
        if not forecast.is_known:
            if not offered:
                raise NoWorker
            if forecast.full:
                raise forecast.full
            if endpoint is Endpoint.SYNC and idempotency_key is None:
                self._check_wait(forecast.wait_s, request)
        max_bytes = min(filter(None, (self.settings.max_upload_bytes, key.limits.max_upload_bytes)))
        # A job with an idempotency key needs no listener: the key finds it again.
        is_kept = idempotency_key is not None
        lease_s = 0.0 if is_kept else choose_lease_s(endpoint, resume_s=self.settings.stream_resume_s)
        return _Admission(endpoint, key, policy, offered, max_bytes, lease_s, forecast.is_known)

    def _check_wait(self, wait_s: float, request: Request) -> None:
        """Raise QueueTooLong if the client would disconnect before its job begins, and lose the result."""
        limit_s, limit = min(
            (read_client_timeout(request.headers), "the client's timeout"),
            (self.settings.sync_wait_s or math.inf, "SYNC_WAIT_S"),
        )
        if wait_s > CLEARLY * limit_s:
            raise QueueTooLong(wait_s, limit_s, limit=limit)

    async def _receive(
        self, request: Request, kind: type[SpeechForm], upload: IncomingUpload, *, max_bytes: int
    ) -> SpeechForm:
        """Receive the form of `request`, with its file or URL as `upload`.

        A field `stream` before the file takes the stream slot before the file arrives.
        """
        state = find_state(request.scope)
        body = FormBody(request, max_file_bytes=max_bytes, needs_file="url" not in kind.list_names())
        await body.read_head()
        if _is_streamed(kind, body):
            self.slots.take(state)
        await upload.write(body.read_file())
        ignored = find_ignored(kind, body.fields)
        state.ignored_fields = name_ignored(ignored)
        log_ignored(kind, ignored)
        form = parse_form(kind, body.fields)
        if form.is_streamed:
            self.slots.take(state)
        self.uploads.choose_source(upload, filename=body.filename, url=form.url)
        return form

    async def _find_replay(
        self, admission: _Admission, form: SpeechForm, upload: IncomingUpload
    ) -> Receipt | None:
        """Return the job of a known idempotency key. Its audio and form need no further check."""
        if not admission.is_known or admission.policy.idempotency_key is None:
            return None
        if upload.url is None:
            await finish_in_thread(upload.flush)
        fingerprint = self._identify(admission, form, upload)
        job = await self.runner.run(find_replay(admission.policy.idempotency_key, fingerprint))
        return Receipt(Outcome.REPLAYED, job) if job else None

    async def _accept(
        self,
        request: Request,
        admission: _Admission,
        form: SpeechForm,
        upload: IncomingUpload,
    ) -> Receipt:
        """Check the request, store its audio, and submit the job."""
        key = admission.key
        asked = check_request(form, admission.offered, aliases=self.settings.model_aliases)
        if form.webhook_url:
            check_webhook_url(form.webhook_url, key, self.settings)
        if upload.url:
            fetch = self.uploads.fetch(upload, max_bytes=admission.max_bytes, key_name=key.name)
            await run_while_connected(request, fetch)
        stored = await self.uploads.store(upload, asked.audio_track)
        self._check_duration(stored.duration_s, key, param=upload.param)
        job = NewJob(
            stored.name,
            admission.endpoint,
            self._classify(form, stored),
            stored,
            asked,
            key.name,
            metadata=form.metadata,
            webhook_url=form.webhook_url,
            has_own_secret=bool(form.webhook_url and key.webhook_secret),
        )
        try:
            fingerprint = self._identify(admission, form, upload)
            lease_s = admission.listener_lease_s
            call = submit_job(job, admission.policy, fingerprint, listener_lease_s=lease_s)
            return await self.runner.run(call)
        except (QueueUnavailable, asyncio.CancelledError):
            # The job may be in the queue all the same. If it is not, the sweeper deletes its file.
            upload.keep()
            raise

    def _identify(self, admission: _Admission, form: SpeechForm, upload: IncomingUpload) -> Fingerprint:
        digest = form.digest(admission.endpoint, file_sha256=upload.sha256)
        return Fingerprint(digest, self.settings.idempotency_ttl_s)

    def _check_duration(self, duration_s: float, key: ApiKey, *, param: str) -> None:
        if duration_s < self.settings.min_audio_s:
            raise AudioTooShort(self.settings.min_audio_s, param=param)
        if key.limits.max_audio_s is not None and duration_s > key.limits.max_audio_s:
            raise AudioTooLong(key.limits.max_audio_s, param=param, limit="the API key")

    def _classify(self, form: SpeechForm, upload: Upload) -> Priority:
        is_long = upload.duration_s > self.settings.interactive_max_audio_s
        return Priority.BATCH if is_long else form.priority


def _is_streamed(kind: type[SpeechForm], body: FormBody) -> bool:
    """Return whether the fields read so far make the answer a stream. An invalid value is refused later."""
    try:
        return parse_form(kind, {"stream": body.fields.get("stream", [""])}).is_streamed
    except InvalidRequest:
        return False
