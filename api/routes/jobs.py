"""Jobs: submit, look, follow, cancel and delete."""

import re
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from api.dependencies import Services, ServicesDep
from api.forms import JobForm, describe_form
from api.idempotency import IdempotencyKey
from api.openapi import SUBMIT_HEADERS, describe_errors, describe_streams
from api.own_jobs import OwnJobId
from api.rendering import render_job
from api.request_context import note_job
from api.schemas.jobs import JobBody
from api.sse import answer_stream, stream_job_events
from shared.errors import InvalidRequest, JobNotFound
from shared.event_log import LOG_START, read_log
from shared.job_store import cancel_job, delete_job, read_job
from shared.jobs import Door, JobState

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_EVENT_ID = re.compile(r"\d{1,15}(-\d{1,15})?")

_EVENTS = (
    "Events named `queued`, `started`, `loading`, `partial`, `segment`, `progress`, `requeued`, and as the "
    "last one `succeeded`, `failed` or `cancelled`; each with JSON as its data, and an id to go on from. "
    "`started` names `engine` and `model`; `succeeded` says whether the transcript is `complete`, with its "
    "`warnings`."
)
_LOCATION = {"Location": {"description": "Where the job is.", "schema": {"type": "string"}}}


@router.post(
    "",
    status_code=202,
    openapi_extra=describe_form(JobForm),
    responses={
        202: {
            "description": "The job is in the queue, or where that of the same `Idempotency-Key` is by now.",
            "headers": {**_LOCATION, **SUBMIT_HEADERS},
        },
        **describe_errors(400, 404, 413, 422, 429, 503, 507),
    },
)
async def create_job(
    request: Request, response: Response, services: ServicesDep, idempotency_key: IdempotencyKey
) -> JobBody:
    """Submit a file and get the job at once: a new one, or that of the same `Idempotency-Key`."""
    accepted = await services.submission.submit(
        request, JobForm, door=Door.JOBS, idempotency_key=idempotency_key
    )
    response.headers["Location"] = f"/v1/jobs/{accepted.job.job_id}"
    return await _read_job_body(services, accepted.job.job_id)


@router.get("/{job_id}", response_model_exclude_unset=True, responses=describe_errors(404, 503))
async def read_one_job(job_id: OwnJobId, services: ServicesDep) -> JobBody:
    """The job as it stands, with the transcript when it has succeeded."""
    return await _read_job_body(services, job_id)


@router.get(
    "/{job_id}/events",
    response_class=EventSourceResponse,
    responses={
        **describe_streams(_EVENTS),
        204: {"description": "The final event has been read: do not come back."},
        **describe_errors(400, 404, 503),
    },
)
async def follow_job(
    request: Request,
    job_id: OwnJobId,
    services: ServicesDep,
    last_event_id: Annotated[str | None, Query(description="The id of the last event that was read.")] = None,
    last_event_id_header: Annotated[
        str | None, Header(alias="Last-Event-ID", description="The same, as EventSource sends it.")
    ] = None,
) -> Response:
    """The events of the job from the start, or behind the last one that was read, until the final one."""
    note_job(request.scope, job_id)
    after_id = _parse_event_id(last_event_id_header or last_event_id)
    page = await services.runner.run(read_log(job_id, after_id=after_id))
    if page is None:
        raise JobNotFound(job_id)
    if page.state.is_final and not page.events:
        return Response(status_code=204)
    frames = stream_job_events(services.follower, job_id, after_id=after_id)
    return answer_stream(frames, heartbeat_s=services.settings.heartbeat_s)


@router.delete(
    "/{job_id}",
    response_model=JobBody,
    responses={
        200: {"description": "It was queued and is cancelled."},
        202: {"model": JobBody, "description": "It is running, and its worker is told to stop."},
        204: {"description": "It was final and is deleted, with its audio."},
        **describe_errors(404, 503),
    },
)
async def delete_one_job(job_id: OwnJobId, services: ServicesDep) -> Response:
    """Cancel a job that is not final, and delete its audio; delete one that is final."""
    was = await services.runner.run(cancel_job(job_id, ttl_s=services.settings.job_ttl_s))
    if was is None:
        raise JobNotFound(job_id)
    if was.is_final:
        await services.runner.run(delete_job(job_id))
        await run_in_threadpool(services.uploads.delete, job_id)
        return Response(status_code=204)
    if was is JobState.QUEUED:
        await run_in_threadpool(services.uploads.delete, job_id)
    body = await _read_job_body(services, job_id)
    return JSONResponse(body.model_dump(mode="json"), 202 if was is JobState.RUNNING else 200)


async def _read_job_body(services: Services, job_id: str) -> JobBody:
    job = await services.follower.run_patiently(read_job(job_id))
    if job is None:
        raise JobNotFound(job_id)
    return render_job(job)


def _parse_event_id(given: str | None) -> str:
    if not given:
        return LOG_START
    if not _EVENT_ID.fullmatch(given):
        raise InvalidRequest(
            "last_event_id is no id of an event: send the `id` of the last one that was read.",
            param="last_event_id",
        )
    return given
