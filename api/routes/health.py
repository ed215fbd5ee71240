"""The health and the readiness of the server."""

import time
from collections.abc import Mapping
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from api.errors.tree import ModelUnavailable, NotReady, NoWorker
from api.intake.live_workers import ask_promptly
from api.openapi.error_description import describe_errors
from api.routes.dependencies import Services, ServicesDep
from api.schemas.base import Body
from shared.capabilities import UNREADY_S, ModelState, WorkerPresence
from shared.errors import QueueUnavailable
from shared.record.admission import AdmissionForecast, check_admission, make_policy
from shared.record.backlog import Backlog

router = APIRouter(tags=["health"])


WorkerState = Literal["idle", "loading", "ready", "busy", "dead"]

_STATES: Mapping[ModelState, WorkerState] = {
    ModelState.ABSENT: "idle",
    ModelState.LOADING: "loading",
    ModelState.READY: "ready",
    ModelState.BUSY: "busy",
    ModelState.DEAD: "dead",
}


class HealthBody(Body):
    """The health of the server."""

    status: Literal["ok", "degraded"]
    """`ok` if the server accepts transcriptions."""

    reason: str | None = Field(default=None, examples=["No worker is running."])
    """The reason for `degraded`."""

    model_loaded: bool = Field(examples=[True])
    """Whether a worker has the model in memory. Workers load it on demand."""

    model_id: str | None = Field(examples=["Qwen/Qwen3-ASR-1.7B"])
    """The model of the workers; null without a worker."""

    cuda: bool = Field(examples=[True])
    """Whether a worker uses an NVIDIA GPU."""

    engine: str | None = Field(examples=["qwen3"])
    """The engine that runs the model; null without a worker."""

    workers: list[WorkerState] = Field(examples=[["ready"]])
    """The state of each live worker: `idle` without a model in memory, until the next job; `loading`; `ready`
    with the model in memory; `busy`; or `dead`, if the model process died, until the next job."""

    rows_in_use: int = Field(examples=[3])
    """Windows in the current or last batch of each worker that runs jobs, added up."""

    max_rows: int = Field(examples=[16])
    """The most windows that all workers decode at once. A worker without a model counts as one."""

    queued_jobs: int | None = Field(examples=[2])
    """The number of jobs in the queue; null if Redis does not answer."""

    queued_audio_s: float | None = Field(examples=[512.5])
    """The seconds of audio in the queue; null if Redis does not answer."""

    backlog_s: float | None = Field(examples=[14.2])
    """The estimated seconds until the workers finish all queued and running jobs, at their recent speed (real
    time before the first window); null without a worker."""


class ReadyBody(Body):
    """The server accepts transcriptions now."""

    status: Literal["ready"]
    """Always `ready`."""


@router.get(
    "/health",
    summary="Get the health of the server",
    response_model_exclude_unset=True,
    responses=describe_errors(),
)
async def read_health(services: ServicesDep) -> HealthBody:
    """Return the health of the server. It is always 200, and never loads the model."""
    try:
        forecast = await _check_admission(services)
    except QueueUnavailable as error:
        return _describe_health((), None, reason=error.message)
    workers = forecast.workers
    missing = forecast.full if workers else NoWorker()
    reason = missing.message if missing else _describe_resting(workers) or _find_load_error(workers)
    return _describe_health(workers, forecast.backlog, reason=reason)


@router.get(
    "/ready",
    summary="Check if the server is ready",
    responses=describe_errors(NoWorker, ModelUnavailable, NotReady, QueueUnavailable),
)
async def read_readiness(services: ServicesDep) -> ReadyBody:
    """Return 200 if the server can transcribe: a worker takes jobs and the queue has room.

    A failed load of the model makes the server unready for a minute. Then a load balancer may try again.
    """
    forecast = await _check_admission(services)
    takers = [worker for worker in forecast.workers if worker.takes_jobs]
    if not takers:
        raise NoWorker
    since_s = time.time() - UNREADY_S
    if all(worker.load_error and worker.load_failed_s > since_s for worker in takers):
        raise ModelUnavailable(takers[0].load_error)
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


def _find_load_error(workers: tuple[WorkerPresence, ...]) -> str | None:
    return next((worker.load_error for worker in workers if worker.load_error), None)


async def _check_admission(services: Services) -> AdmissionForecast:
    admission = check_admission(make_policy(services.settings.queue_limits))
    return await ask_promptly(services.runner, admission)


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
        workers=[_STATES[worker.model_state] for worker in workers],
        rows_in_use=sum(worker.rows for worker in workers),
        max_rows=sum(worker.max_rows for worker in workers),
        queued_jobs=backlog.queued_jobs if backlog else None,
        queued_audio_s=backlog.queued_audio_s if backlog else None,
        backlog_s=round(backlog.wait_s, 1) if backlog and workers else None,
        **({"reason": reason} if reason else {}),
    )
