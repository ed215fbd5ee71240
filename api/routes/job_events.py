"""Following a job: its events as they happen, for programs and for pages in browsers."""

import re
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Query, Request
from sse_starlette import EventSourceResponse
from starlette.responses import Response

from api.access.request_state import find_state
from api.errors.answers import FIND_ERRORS
from api.errors.tree import TooManyStreams
from api.openapi.error_description import describe_errors
from api.openapi.event_description import EVENT_ID_EXAMPLE, describe_job_stream
from api.routes.dependencies import JobId, OwnJob, ServicesDep
from api.schemas.jobs import STREAM_TOKEN_EXAMPLE, StreamTokenBody
from api.streams.sse import answer_stream, stream_job_events
from shared.errors import InvalidRequest
from shared.record.listeners import renew_listener_leases
from shared.record.readings import LOG_START, find_log

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_EVENT_ID = re.compile(r"[0-9]{1,15}(-[0-9]{1,15})?")

_EVENT_ID_SHAPE = {"pattern": f"^({_EVENT_ID.pattern})?$"}

_TOKEN: dict[str, Any] = {
    "name": "token",
    "in": "query",
    "required": False,
    "description": "A stream token of this job, for EventSource, which cannot send `Authorization`.",
    "schema": {"type": "string", "examples": [STREAM_TOKEN_EXAMPLE]},
}


@router.get(
    "/{job_id}/events",
    summary="Follow the events of a job",
    response_class=EventSourceResponse,
    openapi_extra={"parameters": [_TOKEN]},
    responses={
        **describe_job_stream(),
        204: {"description": "The final event has been read. Do not reconnect."},
        **describe_errors(InvalidRequest, *FIND_ERRORS, TooManyStreams),
    },
)
async def follow_job(
    request: Request,
    job_id: JobId,
    services: ServicesDep,
    last_event_id: Annotated[
        str | None,
        Query(
            description="The id of the last event that was read.",
            examples=[EVENT_ID_EXAMPLE],
            json_schema_extra=_EVENT_ID_SHAPE,
        ),
    ] = None,
    last_event_id_header: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            description="The same, as EventSource sends it.",
            examples=[EVENT_ID_EXAMPLE],
            json_schema_extra=_EVENT_ID_SHAPE,
        ),
    ] = None,
) -> Response:
    """Follow the events of a job, from its start or after the last event that was read, to the final event.

    After a disconnect, send the id of the last event that was read, and no event is lost. The header has
    priority over the parameter.
    """
    read_ids = [given for given in (last_event_id_header, last_event_id) if given]
    are_sound = all(map(_EVENT_ID.fullmatch, read_ids))
    after_id = read_ids[0] if read_ids and are_sound else LOG_START
    state = find_state(request.scope)
    call = find_log(job_id, owner=state.api_key.owner, after_id=after_id)
    page = await services.reader.find(job_id, call)
    state.note_job(job_id)
    if not are_sound:
        raise InvalidRequest(
            "last_event_id is not the id of an event. Send the `id` of the last event that was read.",
            param="last_event_id",
        )
    if page.state.is_final and not page.events:
        return Response(status_code=204)
    services.slots.take(state)
    if not page.state.is_final:
        await services.reader.run(renew_listener_leases([job_id]))
    frames = stream_job_events(services.follower, job_id, after_id=after_id, first_page=page)
    return answer_stream(frames, heartbeat_s=services.settings.heartbeat_s)


@router.post(
    "/{job_id}/stream-token",  # noqa: FAST003 - OwnJob takes it
    summary="Get a token for the events of a job",
    responses=describe_errors(*FIND_ERRORS),
)
async def create_stream_token(
    request: Request, response: Response, job: OwnJob, services: ServicesDep
) -> StreamTokenBody:
    """Get a token with which a page in a browser can follow the job by EventSource for a few minutes."""
    token = await services.tokens.issue(job.job_id, key_name=find_state(request.scope).api_key.name)
    response.headers["Cache-Control"] = "no-store"
    return StreamTokenBody(
        token=token,
        expires_in_s=services.tokens.ttl_s,
        events_url=f"/v1/jobs/{job.job_id}/events?{urlencode({'token': token})}",
    )
