"""The one way in: from the form of a request to a job in the queue."""

import asyncio
import uuid
from dataclasses import dataclass
from typing import Generic

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from api.forms import Form, JobForm, SpeechForm, parse_form
from api.live_workers import find_workers
from api.request_check import check_request, gather_capabilities
from api.request_context import note_job
from api.settings import ApiSettings
from api.tickets import TicketSender
from api.upload_form import ReceivedForm, receive_form
from shared.job_store import submit_job
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
            StorageFull, MediaServiceDown: something is short here.
            ClientDisconnect: the client left in the middle.
        """
        offered = gather_capabilities(await find_workers(self._runner))
        job_id = uuid.uuid4().hex
        limit_bytes = self._settings.max_upload_bytes
        async with receive_form(
            request, self._uploads, name=job_id, max_upload_bytes=limit_bytes
        ) as received:
            form = parse_form(kind, received.fields)
            asked = check_request(form, offered)
            upload = await self._store(received)
            job = NewJob(job_id, door, self._classify(form, upload), upload, asked)
            await self._runner.run(submit_job(job))
        note_job(request.scope, job_id)
        self._tickets.send()
        _logger.info("job_submitted", door=door, priority=job.priority, duration_s=upload.duration_s)
        return Accepted(job, form)

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
