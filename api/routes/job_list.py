"""The list of jobs, page by page."""

import re
from collections.abc import Collection
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator

from api.access.record_reader import RecordReader
from api.access.request_state import find_state
from api.formats.job_rendering import render_listed_job
from api.intake.numbers import PlainInt
from api.openapi.answers import describe_page
from api.openapi.error_description import describe_errors
from api.routes.dependencies import ServicesDep
from api.schemas.jobs import JobList
from shared.errors import InvalidRequest, QueueUnavailable
from shared.jobs import JobState
from shared.record.readings import ListedJob, list_jobs

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_CURSOR = re.compile("[0-9]{0,15}")

MAX_READINGS = 20
"""Readings for one page. Each does bounded work, and finds few jobs if few are in the states asked for."""


def _check_cursor(given: str) -> str:
    if not _CURSOR.fullmatch(given):
        raise ValueError("it should be the `next_cursor` of the page before")
    return given


@router.get(
    "",
    summary="List jobs",
    responses={
        **describe_page(),
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
            description="Only jobs in this state. Repeat the parameter for further states.",
            examples=[["queued", "running"]],
        ),
    ] = (),
    limit: Annotated[
        PlainInt, Query(ge=1, le=100, description="The maximum number of jobs on the page.", examples=[20])
    ] = 20,
    after: Annotated[
        str,
        AfterValidator(_check_cursor),
        Query(
            json_schema_extra={"pattern": f"^{_CURSOR.pattern}$"},
            description="The `next_cursor` of the page before. Empty for the first page.",
            examples=["41"],
        ),
    ] = "",
) -> JobList:
    """List the jobs of the caller's API key, or all jobs of a server without API keys, newest first.

    Pages do not shift while jobs arrive. If few jobs are in the `state` asked for, a page may be short or
    empty although `has_more` is true.
    """
    return await _read_page(
        services.reader,
        owner=find_state(request.scope).api_key.owner,
        states=states,
        after=int(after) if after else None,
        limit=limit,
    )


async def _read_page(
    reader: RecordReader,
    *,
    owner: str | None,
    states: Collection[JobState],
    after: int | None,
    limit: int,
) -> JobList:
    """Return at most `limit` jobs after the number `after`, newest first; with None for the owner, of all.

    Raises:
        QueueUnavailable: Redis has not answered for long.
    """
    found: list[ListedJob] = []
    looked_to = after
    is_end = False
    for _ in range(MAX_READINGS):
        # One job more than asked for shows whether there are others.
        wanted = limit + 1 - len(found)
        call = list_jobs(limit=wanted, key_name=owner, states=states, after=looked_to)
        page = await reader.run(call)
        found += page.jobs
        looked_to, is_end = page.looked_to or looked_to, page.is_end
        if is_end or len(found) > limit:
            break
    if len(found) > limit:
        looked_to, is_end = found[limit - 1].number, False
    return JobList(
        data=[render_listed_job(listed.job) for listed in found[:limit]],
        has_more=not is_end,
        next_cursor=None if is_end else str(looked_to),
    )
