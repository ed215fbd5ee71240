"""The dependencies of routes: the services of the process, and the caller's job of a path."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request

from api.access.record_reader import RecordReader
from api.access.request_state import find_state
from api.access.stream_slots import StreamSlots
from api.access.stream_tokens import StreamTokens
from api.formats.rendering_threads import RenderingThreads
from api.intake.submission import Submission
from api.schemas.jobs import JOB_ID_EXAMPLE
from api.settings import ApiSettings
from api.streams.following import JobFollower
from api.streams.listener_leases import ListenerLeases
from api.streams.waiting import JobWaiting
from shared.jobs import Job
from shared.record.readings import find_job
from shared.record.scripts import AsyncScriptRunner
from shared.record.sweeper import Sweeper


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the api that routes use, created by the composition root."""

    settings: ApiSettings
    runner: AsyncScriptRunner
    reader: RecordReader
    submission: Submission
    follower: JobFollower
    waiting: JobWaiting
    leases: ListenerLeases
    sweeper: Sweeper
    slots: StreamSlots
    tokens: StreamTokens
    rendering: RenderingThreads


def _find_services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_find_services)]

JobId = Annotated[str, Path(description="The id of the job.", examples=[JOB_ID_EXAMPLE])]


async def _read_own_job(job_id: JobId, request: Request, services: ServicesDep) -> Job:
    """Return the job in the path as it stands.

    Raises:
        JobNotFound, JobGone: the caller has no such job, or no longer.
        QueueUnavailable: Redis has not answered for long.
    """
    state = find_state(request.scope)
    job = await services.reader.find(job_id, find_job(job_id, owner=state.api_key.owner))
    state.note_job(job_id)
    return job


OwnJob = Annotated[Job, Depends(_read_own_job)]
