"""Jobs: submit, read, cancel and delete; the transcript of a finished job in any format."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.access.record_reader import require_found
from api.access.request_state import find_state
from api.errors.answers import FETCH_ERRORS, FIND_ERRORS, SUBMIT_ERRORS
from api.errors.tree import JobFailed, JobNotFound, JobUnfinished, TranscriptionCancelled
from api.formats.job_rendering import render_job
from api.formats.rendering import render_headers
from api.formats.response_format import ResponseFormat, choose_granularities
from api.formats.transcript_formats import JSON, render_transcript
from api.intake.forms import JobForm
from api.intake.headers import IdempotencyKey, PreferredWait
from api.intake.live_workers import ask_promptly
from api.intake.submission import Accepted
from api.openapi.answers import describe_new_job, describe_transcript
from api.openapi.error_description import describe_errors
from api.openapi.form_description import describe_form
from api.routes.dependencies import JobId, OwnJob, Services, ServicesDep
from api.schemas.jobs import JobBody
from api.schemas.openai import TranscriptionAnswer, VerboseTranscription
from api.streams.waiting import check_success
from shared.errors import InvalidRequest, QueueUnavailable
from shared.jobs import Endpoint, Job, JobState, WordTimestamps
from shared.logs import log_job_end
from shared.record.readings import find_job
from shared.record.transitions import cancel_job, delete_job

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post(
    "",
    summary="Submit a job",
    status_code=202,
    response_model=JobBody,
    openapi_extra=describe_form(JobForm),
    responses={
        **describe_new_job(),
        **describe_errors(*SUBMIT_ERRORS, *FETCH_ERRORS, JobNotFound),
    },
)
async def create_job(
    request: Request, services: ServicesDep, idempotency_key: IdempotencyKey, preferred_s: PreferredWait
) -> Response:
    """Submit a file as a job. The same `Idempotency-Key` returns the same job.

    The answer comes at once. With `Prefer: wait=N` it comes when the job ends, or after N seconds. A client
    that disconnects does not cancel the job.
    """
    accepted = await services.submission.submit(
        request, JobForm, endpoint=Endpoint.JOBS, idempotency_key=idempotency_key
    )
    job_id = accepted.job.job_id
    headers = {"Location": f"/v1/jobs/{job_id}"}
    if preferred_s is None:
        return await _answer_job(services, await _read_submitted(services, accepted), 202, headers)
    wait_s = min(preferred_s, services.settings.prefer_wait_max_s)
    headers["Preference-Applied"] = f"wait={wait_s}"
    with suppress(QueueUnavailable):
        await services.waiting.wait_for_end(job_id, request, within_s=wait_s)
    job = await _read_submitted(services, accepted)
    return await _answer_job(services, job, 200 if job.state.is_final else 202, headers)


@router.get(
    "/{job_id}",  # noqa: FAST003 - OwnJob takes it
    summary="Get a job",
    response_model=JobBody,
    responses=describe_errors(*FIND_ERRORS),
)
async def read_one_job(job: OwnJob, services: ServicesDep) -> Response:
    """Get the job as it stands, with its transcript if it has succeeded."""
    return await _answer_job(services, job, 200)


@router.get(
    "/{job_id}/transcript",  # noqa: FAST003 - OwnJob takes it
    summary="Get the transcript of a job",
    response_model=VerboseTranscription | TranscriptionAnswer,
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
    *,
    is_partial: Annotated[
        bool,
        Query(
            alias="partial",
            description="Whether to get the transcript of the finished windows if the job has not succeeded.",
            examples=[True],
        ),
    ] = False,
) -> Response:
    """Get the transcript of a job that has succeeded. Nothing is transcribed again.

    With `partial=true`, a job in any other state answers with the transcript of its finished windows, and
    `complete` is false. It is empty if no window is finished.
    """
    if not is_partial:
        check_success(job, is_awaited=False)
    with_words = job.request.word_timestamps is WordTimestamps.REQUIRED
    body, media_type = await services.rendering.render(
        job, lambda job: render_transcript(job, shape, choose_granularities(with_words=with_words))
    )
    return Response(body, media_type=media_type, headers=render_headers(job))


@router.delete(
    "/{job_id}",
    summary="Cancel or delete a job",
    response_model=JobBody,
    responses={
        200: {"description": "The job was queued, and is cancelled."},
        202: {
            "model": JobBody,
            "description": "The job is running, and will be cancelled.",
        },
        204: {"description": "The job was final, and is deleted with its audio."},
        **describe_errors(*FIND_ERRORS),
    },
)
async def delete_one_job(request: Request, job_id: JobId, services: ServicesDep) -> Response:
    """Cancel a job that is not final, or delete a final job. Both delete its audio.

    The text that a cancelled job has so far is kept like any other: until it is deleted or JOB_TTL_S is over.
    """
    state = find_state(request.scope)
    call = cancel_job(job_id, ttl_s=services.settings.job_ttl_s, owner=state.api_key.owner)
    was = require_found(job_id, await services.runner.run(call))
    state.note_job(job_id)
    if was.is_final:
        await services.runner.run(delete_job(job_id))
    if was is JobState.QUEUED:
        log_job_end("cancelled", reason="deleted")
    if was is not JobState.RUNNING:
        await run_in_threadpool(services.sweeper.delete_discarded_uploads)
    if was.is_final:
        return Response(status_code=204)
    job = await _read_existing(services, job_id)
    return await _answer_job(services, job, 202 if was is JobState.RUNNING else 200)


async def _read_submitted(services: Services, accepted: Accepted) -> Job:
    """Return the job as it stands, or as submitted, since a client that gets an error submits it again."""
    if not accepted.is_new:
        return await _read_existing(services, accepted.job.job_id)
    try:
        found = await ask_promptly(services.runner, find_job(accepted.job.job_id, owner=None))
    except QueueUnavailable:
        submitted = msgspec.structs.asdict(accepted.job)
        return Job(**submitted, state=JobState.QUEUED, created_ms=round(time.time() * 1_000))
    return require_found(accepted.job.job_id, found)


async def _read_existing(services: Services, job_id: str) -> Job:
    return await services.reader.find(job_id, find_job(job_id, owner=None))


async def _answer_job(
    services: Services, job: Job, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    if job.state is JobState.SUCCEEDED:
        # FastAPI would encode the body on the event loop, and a long transcript would block that.
        body = await services.rendering.render(job, _encode_job)
    else:
        body = _encode_job(job)  # without a transcript: polling must not wait for a thread
    return Response(body, status, headers, media_type=JSON)


def _encode_job(job: Job) -> bytes:
    return render_job(job).model_dump_json(exclude_unset=True).encode()
