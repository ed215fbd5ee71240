"""The one way in: from the form of a request to a job in the queue."""

import asyncio
import uuid
from dataclasses import dataclass
from typing import Generic

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from api.api_keys import ApiKey
from api.authorization import find_api_key
from api.forms import Form, JobForm, SpeechForm, parse_form
from api.live_workers import find_workers
from api.request_check import check_request, gather_capabilities
from api.request_context import note_job
from api.settings import ApiSettings
from api.tickets import TicketSender
from api.upload_form import ReceivedForm, receive_form
from shared.errors import AudioTooLong, AudioTooShort, TooManyJobs
from shared.job_store import count_unfinished, submit_job
from shared.jobs import Door, NewJob, Priority, Upload
from shared.media.client import MediaService
from shared.redis_scripts import AsyncScriptRunner
from shared.upload_store import UploadStore

PROBES_AT_ONCE = 4
"""How many uploads are examined at once: each takes a process of up to DECODER_MEMORY_BYTES."""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Accepted(Generic[Form]):
    """A job that is in the queue, and the form it came from."""

    job: NewJob
    form: Form


class Submission:
    """Takes requests in: what it accepts is on record before it says so, what it refuses leaves no trace."""

    def __init__(
        self,
        settings: ApiSettings,
        runner: AsyncScriptRunner,
        uploads: UploadStore,
        media: MediaService,
        tickets: TicketSender,
    ) -> None:
        self._settings = settings
        self._runner = runner
        self._uploads = uploads
        self._media = media
        self._tickets = tickets
        self._probing = asyncio.Semaphore(PROBES_AT_ONCE)

    async def submit(self, request: Request, kind: type[Form], *, door: Door) -> Accepted[Form]:
        """Take in the form of `request` as a job.

        Raises:
            NoWorker, QueueUnavailable: nothing can be taken in now.
            InvalidRequest, ModelNotFound, UploadTooLarge: this cannot be taken in.
            TooManyJobs: the API key has as many unfinished jobs as it may.
            StorageFull, MediaServiceDown: something is short here.
            ClientDisconnect: the client left in the middle.
        """
        offered = gather_capabilities(await find_workers(self._runner))
        job_id = uuid.uuid4().hex
        key = find_api_key(request.scope)
        await self._refuse_beyond_limit(key)
        limit_bytes = _lower(self._settings.max_upload_bytes, key.limits.max_upload_bytes)
        async with receive_form(
            request, self._uploads, name=job_id, max_upload_bytes=limit_bytes
        ) as received:
            form = parse_form(kind, received.fields)
            asked = check_request(form, offered, aliases=self._settings.model_alias_names)
            upload = await self._store(received)
            self._check_duration(upload.duration_s, key)
            job = NewJob(job_id, door, self._classify(form, upload), upload, asked, key.name)
            # Once more, since others may have been submitted while the file arrived.
            await self._runner.run(submit_job(job, max_unfinished=key.limits.max_unfinished_jobs))
        note_job(request.scope, job_id)
        self._tickets.send()
        _logger.info("job_submitted", door=door, priority=job.priority, duration_s=upload.duration_s)
        return Accepted(job, form)

    async def _refuse_beyond_limit(self, key: ApiKey) -> None:
        limit = key.limits.max_unfinished_jobs
        if limit is not None and await self._runner.run(count_unfinished(key.name)) >= limit:
            raise TooManyJobs(limit)

    def _check_duration(self, duration_s: float, key: ApiKey) -> None:
        if duration_s < self._settings.min_audio_s:
            raise AudioTooShort(self._settings.min_audio_s)
        if key.limits.max_audio_s is not None and duration_s > key.limits.max_audio_s:
            raise AudioTooLong(key.limits.max_audio_s)

    async def _store(self, received: ReceivedForm) -> Upload:
        stored = await run_in_threadpool(received.file.commit)
        async with self._probing:
            probe = await run_in_threadpool(self._media.probe, stored.path)
        return Upload(
            name=stored.name,
            filename=received.filename,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            duration_s=probe.duration_s,
        )

    def _classify(self, form: SpeechForm, upload: Upload) -> Priority:
        if upload.duration_s > self._settings.interactive_max_audio_s:
            return Priority.BATCH
        return Priority(form.priority) if isinstance(form, JobForm) else Priority.INTERACTIVE


def _lower(setting: int, limit: int | None) -> int:
    return setting if limit is None else min(setting, limit)
