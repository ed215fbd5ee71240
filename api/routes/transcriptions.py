"""Transcriptions while the client waits: one answer, or a stream."""

from fastapi import APIRouter, Request
from sse_starlette import EventSourceResponse
from starlette.responses import Response

from api.errors.answers import SUBMIT_ERRORS
from api.errors.tree import (
    JobNotFound,
    QueueTooLong,
    ServerStopping,
    SyncWaitOver,
    TooManyStreams,
    TranscriptionCancelled,
    TranscriptionFailed,
)
from api.formats.rendering import render_headers
from api.formats.response_format import choose_granularities
from api.formats.transcript_formats import render_transcript
from api.intake.forms import StreamForm, TranscriptionForm
from api.intake.headers import IdempotencyKey
from api.openapi.answers import describe_transcription
from api.openapi.error_description import describe_errors
from api.openapi.event_description import describe_deltas, describe_text_stream
from api.openapi.form_description import describe_form
from api.routes.dependencies import Services, ServicesDep
from api.schemas.openai import TranscriptionAnswer, VerboseTranscription
from api.streams.openai_stream import stream_deltas
from api.streams.sse import answer_stream, guard_stream
from api.streams.streaming import stream_transcript
from shared.jobs import Endpoint

router = APIRouter(prefix="/v1/audio/transcriptions", tags=["transcriptions"])


@router.post(
    "",
    response_model=TranscriptionAnswer | VerboseTranscription,
    openapi_extra=describe_form(TranscriptionForm),
    responses={
        **describe_transcription(describe_deltas()),
        **describe_errors(
            *SUBMIT_ERRORS,
            QueueTooLong,
            TooManyStreams,
            TranscriptionFailed,
            TranscriptionCancelled,
            JobNotFound,
            SyncWaitOver,
            ServerStopping,
        ),
    },
)
async def transcribe(request: Request, services: ServicesDep, idempotency_key: IdempotencyKey) -> Response:
    """Transcribe a file and return its text.

    A client that disconnects cancels the transcription, unless the request has an `Idempotency-Key`.
    """
    accepted = await services.submission.submit(
        request, TranscriptionForm, endpoint=Endpoint.SYNC, idempotency_key=idempotency_key
    )
    job_id, is_kept = accepted.job.job_id, idempotency_key is not None
    if accepted.form.is_streamed:
        return _answer_deltas(services, job_id, is_kept=is_kept)
    job = await services.waiting.wait_for_success(job_id, request, is_kept=is_kept)
    form = accepted.form
    granularities = choose_granularities(form.timestamp_granularities, with_words=form.return_timestamps)
    body, media_type = await services.rendering.render(
        job, lambda job: render_transcript(job, form.response_format, granularities)
    )
    return Response(body, media_type=media_type, headers=render_headers(job))


@router.post(
    "/stream",
    response_class=EventSourceResponse,
    openapi_extra=describe_form(StreamForm),
    responses={
        **describe_text_stream(),
        **describe_errors(*SUBMIT_ERRORS, TooManyStreams),
    },
)
async def transcribe_as_stream(
    request: Request, services: ServicesDep, idempotency_key: IdempotencyKey
) -> EventSourceResponse:
    """Transcribe a file and stream its text while it is recognised.

    After a disconnect, the client has STREAM_RESUME_S seconds to follow the job at `/v1/jobs/{id}/events`.
    With an `Idempotency-Key` the job goes on, and the same request streams it again from its start.
    """
    accepted = await services.submission.submit(
        request, StreamForm, endpoint=Endpoint.STREAM, idempotency_key=idempotency_key
    )
    job = accepted.job

    async def cancel() -> None:
        if idempotency_key is None and not services.settings.stream_resume_s:
            await services.leases.cancel(job.job_id)

    return answer_stream(
        guard_stream(stream_transcript(services.follower, services.waiting, services.rendering, job)),
        heartbeat_s=services.settings.heartbeat_s,
        on_disconnect=cancel,
    )


def _answer_deltas(services: Services, job_id: str, *, is_kept: bool) -> EventSourceResponse:
    async def cancel() -> None:
        if not is_kept:
            await services.leases.cancel(job_id)

    return answer_stream(
        guard_stream(stream_deltas(services.follower, services.waiting, services.rendering, job_id)),
        heartbeat_s=services.settings.heartbeat_s,
        on_disconnect=cancel,
    )
