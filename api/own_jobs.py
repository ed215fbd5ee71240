"""Whose job it is: with API keys, a key sees its own jobs and no others."""

from typing import Annotated

from fastapi import Depends, Path, Request

from api.api_keys import ANYBODY
from api.authorization import find_api_key
from api.dependencies import ServicesDep
from shared.errors import JobNotFound
from shared.job_store import read_key_name


async def _find_own_job(
    job_id: Annotated[str, Path(description="The id of the job.")], request: Request, services: ServicesDep
) -> str:
    """The id in the path, if it is that of a job which the caller may see.

    Raises:
        JobNotFound: there is no such job, or it belongs to another key or to none; which, is not told.
        QueueUnavailable: Redis has not answered for long.
    """
    key = find_api_key(request.scope)
    if key is not ANYBODY and await services.follower.run_patiently(read_key_name(job_id)) != key.name:
        raise JobNotFound(job_id)
    return job_id


OwnJobId = Annotated[str, Depends(_find_own_job)]
