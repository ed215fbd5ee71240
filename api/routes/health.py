"""The health and the readiness of the server."""

import asyncio

from fastapi import APIRouter

from api.errors.tree import NotReady, NoWorker
from api.intake.live_workers import ask_promptly, find_workers, gather_capabilities
from api.openapi.error_description import describe_errors
from api.routes.dependencies import Services, ServicesDep
from api.schemas.health import HealthBody, ReadyBody
from shared.capabilities import WorkerPresence
from shared.errors import QueueUnavailable
from shared.record.admission import AdmissionForecast, check_admission, make_policy
from shared.record.backlog import Backlog

router = APIRouter(tags=["health"])


@router.get("/health", response_model_exclude_unset=True, responses=describe_errors())
async def read_health(services: ServicesDep) -> HealthBody:
    """Return the health of the server. It is always 200, and never loads the model."""
    try:
        workers, forecast = await _check_admission(services)
    except QueueUnavailable as error:
        return _describe_health((), None, reason=error.message)
    missing = forecast.full if workers else NoWorker()
    reason = missing.message if missing else _describe_resting(workers)
    return _describe_health(workers, forecast.backlog, reason=reason)


@router.get("/ready", responses=describe_errors(NoWorker, NotReady, QueueUnavailable))
async def read_readiness(services: ServicesDep) -> ReadyBody:
    """Return 200 if the server accepts transcriptions: a worker is alive, and the queue has room."""
    workers, forecast = await _check_admission(services)
    if not gather_capabilities(workers):
        raise NoWorker
    if forecast.full:
        raise NotReady(forecast.full)
    return ReadyBody(status="ready")


def _describe_resting(workers: tuple[WorkerPresence, ...]) -> str | None:
    resting = sum(not worker.takes_jobs for worker in workers)
    if not resting:
        return None
    return (
        f"{resting} of {len(workers)} workers take no jobs now: they are stopping, or their model process "
        "died too often within a minute."
    )


async def _check_admission(services: Services) -> tuple[tuple[WorkerPresence, ...], AdmissionForecast]:
    admission = check_admission(make_policy(services.settings.queue_limits))
    return await asyncio.gather(find_workers(services.runner), ask_promptly(services.runner, admission))


def _describe_health(
    workers: tuple[WorkerPresence, ...], backlog: Backlog | None, *, reason: str | None
) -> HealthBody:
    capabilities = workers[0].capabilities if workers else None
    return HealthBody(
        status="degraded" if reason else "ok",
        model_loaded=any(worker.model_state.is_loaded for worker in workers),
        model_id=capabilities.model if capabilities else None,
        cuda=any(worker.device.startswith("cuda") for worker in workers),
        engine=capabilities.engine if capabilities else None,
        workers=[worker.model_state.value for worker in workers],
        queued_jobs=backlog.queued_jobs if backlog else None,
        queued_audio_s=backlog.queued_audio_s if backlog else None,
        backlog_s=round(backlog.wait_s, 1) if backlog and workers else None,
        **({"reason": reason} if reason else {}),
    )
