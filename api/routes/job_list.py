"""The list of jobs, page by page."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator
from starlette.datastructures import QueryParams

from api.access.record_reader import RecordReader
from api.access.request_state import find_state
from api.formats.job_rendering import render_listed_job
from api.openapi.answers import describe_page
from api.openapi.error_description import describe_errors
from api.routes.dependencies import ServicesDep
from api.schemas.jobs import JobList
from shared.errors import InvalidRequest, QueueUnavailable
from shared.jobs import Job, JobState
from shared.record.readings import ListedJob, list_jobs

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_CURSOR = re.compile("[0-9]{0,15}")

_METADATA = re.compile(r"metadata\[([^\[\]]+)\]")

MAX_SIFTED = 200
"""Jobs of one reading from which those with some metadata are taken."""

MAX_READINGS = 20
"""Readings for one page. Each does bounded work, and finds few jobs if few are in the states asked for."""


def _check_cursor(given: str) -> str:
    if not _CURSOR.fullmatch(given):
        raise ValueError("it should be the `next_cursor` of the page before")
    return given


_METADATA_PARAMETER: dict[str, Any] = {
    "name": "metadata",
    "in": "query",
    "required": False,
    "style": "deepObject",
    "explode": True,
    "description": "Only jobs whose metadata has this value, as in `metadata[batch]=17`. Several values "
    "must all match. A key with brackets cannot be asked for.",
    "schema": {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "propertyNames": {"pattern": r"^[^\[\]]+$"},
        "examples": [{"batch": "17"}],
    },
}


@router.get(
    "",
    summary="List jobs",
    openapi_extra={"parameters": [_METADATA_PARAMETER]},
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
        int, Query(ge=1, le=100, description="The maximum number of jobs on the page.", examples=[20])
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

    Pages do not shift while jobs arrive. If few jobs have the `state` or `metadata` asked for, a page may be
    short or empty although `has_more` is true.
    """
    return await _read_page(
        services.reader,
        owner=find_state(request.scope).api_key.owner,
        wanted=_Filter(states, _read_metadata(request.query_params)),
        after=int(after) if after else None,
        limit=limit,
    )


def _read_metadata(query: QueryParams) -> Mapping[str, str]:
    """Return the values that a query such as `metadata[batch]=17` asks for, by key.

    Raises:
        InvalidRequest: a name has no key, or its key has brackets.
    """
    asked = {}
    for name, value in query.multi_items():
        if matched := _METADATA.fullmatch(name):
            asked[matched[1]] = value
        elif name == "metadata" or name.startswith("metadata["):
            raise InvalidRequest(
                "This filter should be `metadata[KEY]=VALUE`, with a KEY without brackets.", param="metadata"
            )
    return asked


@dataclass(frozen=True, slots=True)
class _Filter:
    """The jobs that a page lists: those in one of the `states`, or in any, with all values of `metadata`."""

    states: Collection[JobState]
    metadata: Mapping[str, str]

    def fits(self, job: Job) -> bool:
        """Return whether the job has the metadata: a text as it is, any other value as its JSON."""
        given = job.metadata or {}
        return all(
            key in given and value in (given[key], json.dumps(given[key], ensure_ascii=False))
            for key, value in self.metadata.items()
        )


async def _read_page(
    reader: RecordReader,
    *,
    owner: str | None,
    wanted: _Filter,
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
        # One job more than asked for shows whether there are others. Few may have the metadata.
        most = MAX_SIFTED if wanted.metadata else limit + 1 - len(found)
        call = list_jobs(limit=most, key_name=owner, states=wanted.states, after=looked_to)
        page = await reader.run(call)
        found += [listed for listed in page.jobs if wanted.fits(listed.job)]
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
