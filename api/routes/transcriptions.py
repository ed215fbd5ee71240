"""Transcribing while the client waits: at once, or as a stream."""

from fastapi import APIRouter, Request
from sse_starlette import EventSourceResponse
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message

from api.dependencies import ServicesDep
from api.forms import SpeechForm, TranscriptionForm, describe_form
from api.openapi import JOB_ID_HEADER, describe_errors, describe_streams
from api.rendering import render_answer
from api.schemas import TranscriptionAnswer
from api.sse import answer_stream, guard_stream
from api.streaming import stream_transcript
from shared.jobs import Door

router = APIRouter(prefix="/v1/audio/transcriptions", tags=["transcriptions"])

_STREAM = (
    'Events without a name: `{"text", "language", "is_final"}` with all text so far, the last of them final, '
    'then `{"done": true}`. Beside them events named `job` (`id`), `queued` (`position`), `loading` and '
    '`progress`. A failure is told as `{"error": {...}}`.'
)


@router.post(
    "",
    response_model=TranscriptionAnswer,
    response_model_exclude_unset=True,
    openapi_extra=describe_form(TranscriptionForm),
    responses={
        200: {
            "description": "The transcript.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
            "headers": JOB_ID_HEADER,
        },
        **describe_errors(400, 404, 409, 413, 500, 503, 504, 507),
    },
)
async def transcribe(request: Request, services: ServicesDep) -> TranscriptionAnswer | Response:
    """Transcribe a file and answer with its text. Who closes the connection cancels the transcription."""
    accepted = await services.submission.submit(request, TranscriptionForm, door=Door.SYNC)
    job = await services.waiting.wait_for_success(accepted.job.job_id, request)
    answer = render_answer(job)
    if accepted.form.response_format == "text":
        return PlainTextResponse(answer.text + "\n")
    return answer


@router.post(
    "/stream",
    response_class=EventSourceResponse,
    openapi_extra=describe_form(SpeechForm),
    responses={**describe_streams(_STREAM), **describe_errors(400, 404, 413, 503, 507)},
)
async def transcribe_as_stream(request: Request, services: ServicesDep) -> EventSourceResponse:
    """Transcribe a file and send its text while it comes.

    Who closes the connection has STREAM_RESUME_S seconds to follow the job at `/v1/jobs/{id}/events` instead.
    """
    accepted = await services.submission.submit(request, SpeechForm, door=Door.STREAM)
    job = accepted.job

    async def on_client_left(_message: Message) -> None:
        services.abandoned.watch(job.job_id)

    return answer_stream(
        guard_stream(stream_transcript(services.follower, services.waiting, job)),
        heartbeat_s=services.settings.heartbeat_s,
        on_client_left=on_client_left,
    )
