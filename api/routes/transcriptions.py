"""Transcriptions while the client waits: one answer, or a stream."""

from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from api.errors import tree
from api.errors.answers import SUBMIT_ERRORS
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
from api.streams.sse import answer_stream, guard_stream
from api.streams.text_streams import stream_deltas, stream_transcript
from shared.jobs import Endpoint

router = APIRouter(prefix="/v1/audio/transcriptions", tags=["transcriptions"])


@router.post(
    "",
    summary="Transcribe a recording",
    response_model=VerboseTranscription | TranscriptionAnswer,
    openapi_extra=describe_form(TranscriptionForm),
    responses={
        **describe_transcription(describe_deltas()),
        **describe_errors(
            *SUBMIT_ERRORS,
            tree.QueueTooLong,
            tree.TooManyStreams,
            tree.TranscriptionFailed,
            tree.TranscriptionCancelled,
            tree.JobNotFound,
            tree.SyncWaitOver,
            tree.ServerStopping,
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
        frames = stream_deltas(services.follower, services.waiting, services.rendering, job_id)
        return _answer_frames(services, job_id, frames, ends_with_client=not is_kept)
    job = await services.waiting.wait_for_success(job_id, request, is_new=accepted.is_new, is_kept=is_kept)
    form = accepted.form
    granularities = choose_granularities(form.timestamp_granularities, with_words=form.return_timestamps)
    body, media_type = await services.rendering.render(
        job, lambda job: render_transcript(job, form.response_format, granularities)
    )
    return Response(body, media_type=media_type, headers=render_headers(job))


@router.post(
    "/stream",
    summary="Transcribe a recording as a stream",
    response_class=EventSourceResponse,
    openapi_extra=describe_form(StreamForm),
    responses={
        **describe_text_stream(),
        **describe_errors(*SUBMIT_ERRORS, tree.TooManyStreams),
    },
)
async def transcribe_as_stream(
    request: Request, services: ServicesDep, idempotency_key: IdempotencyKey
) -> EventSourceResponse:
    """Transcribe a file and stream its text while it is recognized.

    After a disconnect, the client has STREAM_RESUME_S seconds to follow the job at `/v1/jobs/{id}/events`.
    With an `Idempotency-Key` the job goes on, and the same request streams it again from its start.
    """
    accepted = await services.submission.submit(
        request, StreamForm, endpoint=Endpoint.STREAM, idempotency_key=idempotency_key
    )
    frames = stream_transcript(services.follower, services.waiting, services.rendering, accepted.job)
    ends_with_client = idempotency_key is None and not services.settings.stream_resume_s
    return _answer_frames(services, accepted.job.job_id, frames, ends_with_client=ends_with_client)


def _answer_frames(
    services: Services, job_id: str, frames: AsyncGenerator[ServerSentEvent], *, ends_with_client: bool
) -> EventSourceResponse:
    """Return the response that streams `frames`; a disconnect cancels the job if it `ends_with_client`."""

    async def cancel() -> None:
        await services.leases.cancel(job_id)

    return answer_stream(
        guard_stream(frames),
        heartbeat_s=services.settings.heartbeat_s,
        on_disconnect=cancel if ends_with_client else None,
    )
