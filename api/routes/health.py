"""Whether the server lives, and whether it would serve a request."""

from fastapi import APIRouter

from api.dependencies import ServicesDep
from api.live_workers import find_workers
from api.request_check import gather_capabilities
from api.schemas.errors import ErrorBody
from api.schemas.health import HealthBody, ReadyBody
from shared.capabilities import WorkerPresence
from shared.errors import NoWorker, QueueUnavailable

router = APIRouter(tags=["health"])


@router.get("/health", response_model_exclude_unset=True)
async def read_health(services: ServicesDep) -> HealthBody:
    """How the server is. Always 200, also while nothing can be transcribed; never wakes up the model."""
    try:
        workers = await find_workers(services.runner)
    except QueueUnavailable as error:
        return _describe_health((), reason=error.message)
    return _describe_health(workers, reason=None if workers else NoWorker().message)


@router.get("/ready", responses={503: {"model": ErrorBody, "description": "Not now; see Retry-After."}})
async def read_readiness(services: ServicesDep) -> ReadyBody:
    """200 if a transcription would be served now."""
    gather_capabilities(await find_workers(services.runner))
    return ReadyBody(status="ready")


def _describe_health(workers: tuple[WorkerPresence, ...], *, reason: str | None) -> HealthBody:
    capabilities = workers[0].capabilities if workers else None
    return HealthBody(
        status="degraded" if reason else "ok",
        model_loaded=any(worker.model_state.is_loaded for worker in workers),
        model_id=capabilities.model if capabilities else None,
        cuda=any(worker.device.startswith("cuda") for worker in workers),
        engine=capabilities.engine if capabilities else None,
        workers=[worker.model_state.value for worker in workers],
        **({"reason": reason} if reason else {}),
    )
