"""Job ownership: with API keys, a key sees its own jobs and no others."""

from typing import Annotated, TypeVar

from fastapi import Depends, Path, Request

from api.access.authorization import find_api_key
from api.dependencies import ServicesDep
from api.errors.tree import JobGone, JobNotFound
from api.middleware.request_context import note_job
from api.schemas.jobs import JOB_ID_EXAMPLE
from shared.jobs import Job
from shared.record.readings import Absence
from shared.record.transitions import find_job

Found = TypeVar("Found")

JobId = Annotated[str, Path(description="The id of the job.", examples=[JOB_ID_EXAMPLE])]


def require_found(job_id: str, found: Found | Absence) -> Found:
    """Return what was found of a job.

    Raises:
        JobNotFound: there is no such job, or it belongs to another API key.
        JobGone: the job was the caller's, and its TTL is over.
    """
    match found:
        case Absence.UNKNOWN:
            raise JobNotFound(job_id)
        case Absence.GONE:
            raise JobGone(job_id)
        case _:
            return found


async def _read_own_job(job_id: JobId, request: Request, services: ServicesDep) -> Job:
    """Return the job in the path as it stands.

    Raises:
        JobNotFound, JobGone: the caller has no such job, or no longer.
        QueueUnavailable: Redis has not answered for long.
    """
    owner = find_api_key(request.scope).owner
    found = await services.follower.run_patiently(find_job(job_id, owner=owner))
    job = require_found(job_id, found)
    note_job(request.scope, job_id)
    return job


OwnJob = Annotated[Job, Depends(_read_own_job)]
