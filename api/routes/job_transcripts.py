"""The transcript of a job, in any format and as often as it is asked for: nothing is transcribed again."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.access.own_jobs import OwnJob
from api.dependencies import ServicesDep
from api.errors.answers import FIND_ERRORS
from api.errors.tree import JobFailed, JobUnfinished, TranscriptionCancelled
from api.formats.rendering import render_headers
from api.formats.response_format import Granularity, ResponseFormat
from api.formats.transcript_formats import render_transcript
from api.openapi.document import JOB_TRANSCRIPT_HEADERS, PLAIN_EXAMPLE
from api.openapi.error_description import describe_errors
from api.schemas.openai import TranscriptionAnswer, VerboseTranscription
from shared.errors import InvalidRequest
from shared.jobs import Job, JobState, WordTimestamps

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_ANSWER = (
    "The transcript as `POST /v1/audio/transcriptions` answers it: an object with `json` and `verbose_json`, "
    "plain text with `text`, `srt` and `vtt`. `json` and `verbose_json` have word timestamps if the job was "
    "submitted with `return_timestamps` or `timestamp_granularities[]=word`."
)


@router.get(
    "/{job_id}/transcript",  # noqa: FAST003 - OwnJob takes it
    response_model=TranscriptionAnswer | VerboseTranscription,
    responses={
        200: {
            "description": _ANSWER,
            "content": {"text/plain": {"schema": {"type": "string", "examples": [PLAIN_EXAMPLE]}}},
            "headers": JOB_TRANSCRIPT_HEADERS,
        },
        **describe_errors(InvalidRequest, *FIND_ERRORS, JobUnfinished, TranscriptionCancelled, JobFailed),
    },
)
async def read_transcript(
    job: OwnJob,
    services: ServicesDep,
    shape: Annotated[
        ResponseFormat, Query(alias="format", description="In which form to answer.", examples=["srt"])
    ] = ResponseFormat.JSON,
) -> Response:
    """The transcript of a job that has succeeded, in the format that is asked for."""
    _check_success(job)
    body, media_type = await services.rendering.render(
        job, lambda job: render_transcript(job, shape, _choose_granularities(job))
    )
    return Response(body, media_type=media_type, headers=render_headers(job))


def _check_success(job: Job) -> None:
    if job.failure is not None:
        raise JobFailed(job.failure)
    if job.state is JobState.CANCELLED:
        raise TranscriptionCancelled
    if job.state is not JobState.SUCCEEDED:
        raise JobUnfinished(job.job_id, job.state)


def _choose_granularities(job: Job) -> frozenset[Granularity]:
    return frozenset(Granularity) if job.request.word_timestamps is WordTimestamps.REQUIRED else frozenset()
