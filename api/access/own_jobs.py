"""Whose job it is: with API keys, a key sees its own jobs and no others."""

from typing import Annotated

from fastapi import Depends, Path, Request

from api.access.api_keys import ANYBODY
from api.access.authorization import find_api_key
from api.dependencies import ServicesDep
from api.errors.tree import JobGone, JobNotFound
from api.middleware.request_context import note_job
from api.schemas.jobs import JOB_ID_EXAMPLE
from shared.record.transitions import find_owner


async def _find_own_job(
    job_id: Annotated[str, Path(description="The id of the job.", examples=[JOB_ID_EXAMPLE])],
    request: Request,
    services: ServicesDep,
) -> str:
    """The id in the path, if it is that of a job which the caller may see.

    Raises:
        JobNotFound: there is no such job, or it belongs to another key or to none; which, is not told.
        JobGone: it was the caller's, and its TTL is over.
        QueueUnavailable: Redis has not answered for long.
    """
    key = find_api_key(request.scope)
    owner = await services.follower.run_patiently(find_owner(job_id))
    if owner is None or (key is not ANYBODY and owner.key_name != key.name):
        raise JobNotFound(job_id)
    if owner.is_gone:
        raise JobGone(job_id)
    note_job(request.scope, job_id)
    return job_id


OwnJobId = Annotated[str, Depends(_find_own_job)]
