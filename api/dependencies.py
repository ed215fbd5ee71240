"""What a route may ask for."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.access.stream_tokens import StreamTokens
from api.formats.rendering_threads import RenderingThreads
from api.intake.submission import Submission
from api.settings import ApiSettings
from api.streams.following import JobFollower
from api.streams.listener_leases import ListenerLeases
from api.streams.stream_slots import StreamSlots
from api.streams.waiting import JobWaiting
from shared.record.scripts import AsyncScriptRunner
from shared.record.sweeper import Sweeper


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of the api that routes work with, as put together by the composition root."""

    settings: ApiSettings
    runner: AsyncScriptRunner
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
