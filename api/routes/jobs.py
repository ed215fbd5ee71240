"""Jobs: submit, look, list, cancel and delete."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.access.authorization import find_api_key
from api.access.own_jobs import JobId, OwnJob, require_found
from api.dependencies import Services, ServicesDep
from api.errors.answers import FETCH_ERRORS, FIND_ERRORS, SUBMIT_ERRORS
from api.errors.tree import JobNotFound
from api.formats.job_rendering import render_job
from api.formats.transcript_formats import JSON
from api.intake.forms import JobForm
from api.intake.headers import IdempotencyKey, PreferredWait
from api.intake.live_workers import ask_promptly
from api.intake.submission import Accepted
from api.job_listing import read_job_list
from api.middleware.request_context import note_job
from api.openapi.document import JOB_LINKS, PAGE_LINKS, SUBMIT_HEADERS
from api.openapi.error_description import describe_errors
from api.openapi.form_description import describe_form
from api.schemas.jobs import JOB_ID_EXAMPLE, JobBody, JobList
from shared.errors import InvalidRequest, QueueUnavailable
from shared.jobs import Endpoint, Job, JobState, queued_job
from shared.record.transitions import cancel_job, delete_job, read_job

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_HEADERS = {
    "Location": {
        "description": "Where the job is.",
        "schema": {"type": "string", "pattern": "^/v1/jobs/", "examples": [f"/v1/jobs/{JOB_ID_EXAMPLE}"]},
    },
    "Preference-Applied": {
        "description": "`wait=N` where the request preferred to wait: N seconds at the most.",
        "schema": {"type": "string", "pattern": "^wait=[0-9]+$", "examples": ["wait=50"]},
    },
    **SUBMIT_HEADERS,
}


@router.post(
    "",
    status_code=202,
    response_model=JobBody,
    openapi_extra=describe_form(JobForm),
    responses={
        200: {
            "model": JobBody,
            "description": "With `Prefer: wait=N`: the job is final, with its transcript if it has one.",
            "headers": _HEADERS,
            "links": JOB_LINKS,
        },
        202: {
            "description": "The job is in the queue, or where that of the same `Idempotency-Key` is by now.",
            "headers": _HEADERS,
            "links": JOB_LINKS,
        },
        **describe_errors(*SUBMIT_ERRORS, *FETCH_ERRORS, JobNotFound),
    },
)
async def create_job(
    request: Request, services: ServicesDep, idempotency_key: IdempotencyKey, preferred_s: PreferredWait
) -> Response:
    """Submit a file and get the job: a new one, or that of the same `Idempotency-Key`.

    The answer comes at once or, with `Prefer: wait=N`, when the job is done or N seconds are over. Closing
    the connection does not cancel the job.
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
    "",
    responses={
        200: {"description": "A page of jobs.", "links": PAGE_LINKS},
        **describe_errors(InvalidRequest, QueueUnavailable),
    },
)
async def list_all_jobs(
    request: Request,
    services: ServicesDep,
    states: Annotated[
        tuple[JobState, ...],
        Query(
            alias="state",
            description="Only jobs in this state; send it again for further states.",
            examples=[["queued", "running"]],
        ),
    ] = (),
    limit: Annotated[
        int, Query(ge=1, le=100, description="How many jobs to answer at the most.", examples=[20])
    ] = 20,
    after: Annotated[
        str,
        Query(
            pattern="^[0-9]{0,15}$",
            description="The `next_cursor` of the page before; empty for the first page.",
            examples=["41"],
        ),
    ] = "",
) -> JobList:
    """The jobs of the caller's API key, the newest first; where the server asks for no key, all jobs.

    Pages do not shift while jobs arrive. With few jobs in the `state` asked for, a page may be short, or even
    empty, though `has_more`.
    """
    return await read_job_list(
        services.follower,
        key_name=find_api_key(request.scope).owner,
        states=states,
        after=int(after) if after else None,
        limit=limit,
    )


@router.get(
    "/{job_id}",  # noqa: FAST003 - OwnJob takes it
    response_model=JobBody,
    responses=describe_errors(*FIND_ERRORS),
)
async def read_one_job(job: OwnJob, services: ServicesDep) -> Response:
    """The job as it stands, with the transcript when it has succeeded."""
    return await _answer_job(services, job, 200)


@router.delete(
    "/{job_id}",
    response_model=JobBody,
    responses={
        200: {"description": "It was queued and is cancelled."},
        202: {
            "model": JobBody,
            "description": "It is running and will be cancelled, whatever its worker does.",
        },
        204: {"description": "It was final and is deleted, with its audio."},
        **describe_errors(*FIND_ERRORS),
    },
)
async def delete_one_job(request: Request, job_id: JobId, services: ServicesDep) -> Response:
    """Cancel a job that is not final, and delete its audio; delete one that is final."""
    owner = find_api_key(request.scope).owner
    call = cancel_job(job_id, ttl_s=services.settings.job_ttl_s, owner=owner)
    was = require_found(job_id, await services.runner.run(call))
    note_job(request.scope, job_id)
    if was.is_final:
        await services.runner.run(delete_job(job_id))
    if was is not JobState.RUNNING:
        await run_in_threadpool(services.sweeper.delete_discarded_uploads)
    if was.is_final:
        return Response(status_code=204)
    job = await _read_existing(services, job_id)
    return await _answer_job(services, job, 202 if was is JobState.RUNNING else 200)


async def _read_submitted(services: Services, accepted: Accepted) -> Job:
    """The job as it stands, or else as it was taken in: who is told of an error would send it again."""
    if not accepted.is_new:
        return await _read_existing(services, accepted.job.job_id)
    try:
        job = await ask_promptly(services.runner, read_job(accepted.job.job_id))
    except QueueUnavailable:
        job = queued_job(accepted.job, created_ms=round(time.time() * 1_000))
    return _check_found(accepted.job.job_id, job)


async def _read_existing(services: Services, job_id: str) -> Job:
    return _check_found(job_id, await services.follower.run_patiently(read_job(job_id)))


def _check_found(job_id: str, job: Job | None) -> Job:
    if job is None:
        raise JobNotFound(job_id)
    return job


async def _answer_job(
    services: Services, job: Job, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    # FastAPI would make the JSON of a body on the event loop, where that of a long transcript is in the way.
    body = await services.rendering.render(job, _encode_job)
    return Response(body, status, headers, media_type=JSON)


def _encode_job(job: Job) -> bytes:
    return render_job(job).model_dump_json(exclude_unset=True).encode()
