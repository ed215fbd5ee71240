"""Transcribing while the client waits: at once, or as a stream."""

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
from api.openapi.document import PLAIN_EXAMPLE, SUBMIT_HEADERS, TRANSCRIPT_HEADERS, describe_streams
from api.openapi.error_description import describe_errors
from api.openapi.event_description import describe_deltas, describe_stream_events
from api.openapi.form_description import describe_form
from api.routes.dependencies import Services, ServicesDep
from api.schemas.openai import TranscriptionAnswer, VerboseTranscription
from api.streams.openai_stream import stream_deltas
from api.streams.sse import answer_stream, guard_stream
from api.streams.streaming import stream_transcript
from shared.jobs import Endpoint

router = APIRouter(prefix="/v1/audio/transcriptions", tags=["transcriptions"])

_STREAM = (
    'Events without a name: `{"text", "language", "is_final"}` with all text so far, the last of them final, '
    'then `{"done": true}`. The final one says all that the answer without a stream says. Beside them events '
    "named `job` (`id`), `queued` (`position`), `started` (`attempt`, `engine`, `model`), `loading`, "
    '`progress` and `requeued` (`reason`). A failure is told as `{"error": {...}}`.'
)

_ANSWER = (
    "The transcript: an object with `json` and `verbose_json`, plain text with `text`, `srt` and `vtt`. With "
    '`stream=true` events without a name or an id: `{"type": "transcript.text.delta", "delta"}` with '
    'text that follows what was sent, one `{"type": "transcript.text.done", "text"}` with all of it, and '
    'at last `[DONE]`, which is no JSON. A failure on the way ends them with `{"error": {...}}`; the '
    "headers about the transcript are not sent then."
)

_DELTAS_EXAMPLE = (
    'data: {"type":"transcript.text.delta","delta":"Good morning."}\n\n'
    'data: {"type":"transcript.text.done","text":"Good morning."}\n\ndata: [DONE]\n\n'
)

_STREAM_EXAMPLE = (
    'data: {"text":"Good","language":"en","is_final":false}\n\n'
    'data: {"text":"Good morning.","language":"en","is_final":true}\n\ndata: {"done":true}\n\n'
)


@router.post(
    "",
    response_model=TranscriptionAnswer | VerboseTranscription,
    openapi_extra=describe_form(TranscriptionForm),
    responses={
        200: {
            "description": _ANSWER,
            "content": {
                "text/plain": {"schema": {"type": "string", "examples": [PLAIN_EXAMPLE]}},
                "text/event-stream": {"itemSchema": describe_deltas(), "example": _DELTAS_EXAMPLE},
            },
            "headers": TRANSCRIPT_HEADERS,
        },
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
    """Transcribe a file and answer with its text.

    Who closes the connection cancels the transcription, unless it came with an `Idempotency-Key`.
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
        **describe_streams(
            _STREAM, {"itemSchema": describe_stream_events(), "example": _STREAM_EXAMPLE}, SUBMIT_HEADERS
        ),
        **describe_errors(*SUBMIT_ERRORS, TooManyStreams),
    },
)
async def transcribe_as_stream(
    request: Request, services: ServicesDep, idempotency_key: IdempotencyKey
) -> EventSourceResponse:
    """Transcribe a file and send its text while it comes.

    Who closes the connection has STREAM_RESUME_S seconds to follow the job at `/v1/jobs/{id}/events` instead.
    With an `Idempotency-Key` the job goes on, and the same request follows it from its start.
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
