"""The models that clients can request."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path

from api.errors.tree import ModelNotFound, NoWorker
from api.intake.live_workers import find_model, find_workers, gather_capabilities, list_models
from api.openapi.error_description import describe_errors
from api.routes.dependencies import Services, ServicesDep
from api.schemas.openai import ModelBody, ModelList
from shared.capabilities import Capabilities
from shared.errors import QueueUnavailable

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", summary="List models", responses=describe_errors(NoWorker, QueueUnavailable))
async def read_models(services: ServicesDep) -> ModelList:
    """List the models of the live workers, and the names in MODEL_ALIASES, which stand for any of them.

    Patterns in MODEL_ALIASES are not listed.
    """
    offered = await _find_offered(services)
    return ModelList(object="list", data=list_models(offered, services.settings.model_aliases))


@router.get(
    "/{model:path}",
    summary="Get a model",
    responses=describe_errors(ModelNotFound, NoWorker, QueueUnavailable),
)
async def read_one_model(
    model: Annotated[
        str,
        Path(
            description="A name of the model. A `/` in it may be sent as it is, or as `%2F`.",
            examples=["whisper-1"],
        ),
    ],
    services: ServicesDep,
) -> ModelBody:
    """Return one model or alias."""
    if not model:  # a slash after /v1/models
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return find_model(model, await _find_offered(services), services.settings.model_aliases)


async def _find_offered(services: Services) -> frozenset[Capabilities]:
    return gather_capabilities(await find_workers(services.runner))
