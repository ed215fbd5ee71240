"""The transcript of a finished job, in any format and any number of times."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.errors.answers import FIND_ERRORS
from api.errors.tree import JobFailed, JobUnfinished, TranscriptionCancelled
from api.formats.rendering import render_headers
from api.formats.response_format import ResponseFormat, choose_granularities
from api.formats.transcript_formats import render_transcript
from api.openapi.answers import describe_transcript
from api.openapi.error_description import describe_errors
from api.routes.dependencies import OwnJob, ServicesDep
from api.schemas.openai import TranscriptionAnswer, VerboseTranscription
from api.streams.waiting import check_success
from shared.errors import InvalidRequest
from shared.jobs import WordTimestamps

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.get(
    "/{job_id}/transcript",  # noqa: FAST003 - OwnJob takes it
    response_model=TranscriptionAnswer | VerboseTranscription,
    responses={
        **describe_transcript(),
        **describe_errors(InvalidRequest, *FIND_ERRORS, JobUnfinished, TranscriptionCancelled, JobFailed),
    },
)
async def read_transcript(
    job: OwnJob,
    services: ServicesDep,
    shape: Annotated[
        ResponseFormat, Query(alias="format", description="The format of the answer.", examples=["srt"])
    ] = ResponseFormat.JSON,
) -> Response:
    """Get the transcript of a job that has succeeded. Nothing is transcribed again."""
    check_success(job, is_awaited=False)
    with_words = job.request.word_timestamps is WordTimestamps.REQUIRED
    body, media_type = await services.rendering.render(
        job, lambda job: render_transcript(job, shape, choose_granularities(with_words=with_words))
    )
    return Response(body, media_type=media_type, headers=render_headers(job))
