"""Corrections of the OpenAPI document that FastAPI generates, and the parts that it cannot derive."""

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from api.access.authorization import is_open_path
from api.errors.tree import IncorrectApiKey, IncorrectStreamToken, MissingApiKey
from api.intake.headers import IDEMPOTENCY_KEY
from api.openapi.answers import JOB_ID_HEADER, REFERENCE, REQUEST_ID_HEADER, refer
from api.openapi.error_description import describe_errors
from api.openapi.event_description import EVENT_BODIES
from api.openapi.webhook_description import describe_webhooks
from api.schemas.errors import ErrorBody
from api.schemas.jobs import JobEndedBody
from shared.errors import ServerError

TAGS = [
    {"name": "transcriptions", "description": "Send a recording and get its text, at once or as a stream."},
    {"name": "models", "description": "The names of the models that requests may use."},
    {"name": "jobs", "description": "Recordings that are transcribed in the background."},
    {"name": "health", "description": "The state of the server, for operators and load balancers."},
]

_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key of this server."},
    "stream_token": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "A token from `POST /v1/jobs/{job_id}/stream-token`, for the events of that job only.",
    },
}


def correct_openapi(app: FastAPI, *, asks_for_keys: bool) -> None:
    """Make `app.openapi` return the corrected document."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _correct(generate(), asks_for_keys=asks_for_keys)
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]


def _correct(document: dict[str, Any], *, asks_for_keys: bool) -> None:
    schemas = document["components"]["schemas"]
    document["components"]["schemas"] = {**_describe_bodies(), **schemas}
    document["webhooks"] = describe_webhooks()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _drop_unused_refusal(operation["responses"])
            _drop_null(operation.get("parameters", []))
            if asks_for_keys and not is_open_path(path):
                _require_key(operation)
            _add_headers(operation)
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)
    if asks_for_keys:
        document["components"]["securitySchemes"] = _SCHEMES


def _describe_bodies() -> dict[str, Any]:
    """Return the schemas of the bodies that no route returns as such: those of events and of the webhook."""
    kinds = sorted(EVENT_BODIES | {JobEndedBody}, key=lambda kind: kind.__name__)
    _, described = models_json_schema([(kind, "serialization") for kind in kinds], ref_template=REFERENCE)
    return dict(described["$defs"])


def _add_headers(operation: dict[str, Any]) -> None:
    names = {parameter["name"] for parameter in operation.get("parameters", [])}
    has_job = not names.isdisjoint({"job_id", IDEMPOTENCY_KEY})
    for status, response in operation["responses"].items():
        job_header = JOB_ID_HEADER if has_job and status != "401" else {}
        response["headers"] = {**response.get("headers", {}), **REQUEST_ID_HEADER, **job_header}


def _drop_unused_refusal(responses: dict[str, Any]) -> None:
    """Drop the 422 that FastAPI documents for invalid parameters; this server answers 400."""
    schema = responses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if schema.get("$ref", "").endswith("/HTTPValidationError"):
        del responses["422"]


def _drop_null(parameters: list[dict[str, Any]]) -> None:
    """Drop null from the schemas of parameters: an optional parameter is absent, never null."""
    for parameter in parameters:
        kinds = parameter["schema"].pop("anyOf", ())
        for kind in kinds:
            if kind != {"type": "null"}:
                parameter["schema"].update(kind)


def _require_key(operation: dict[str, Any]) -> None:
    kinds: list[type[ServerError]] = [MissingApiKey, IncorrectApiKey]
    operation["security"] = [{"bearer": []}]
    if any(parameter["name"] == "token" for parameter in operation.get("parameters", [])):
        kinds.append(IncorrectStreamToken)
        operation["security"].append({"stream_token": []})
    refusal = describe_errors(*kinds)[401]
    del refusal["model"]
    refusal["content"]["application/json"]["schema"] |= refer(ErrorBody)
    operation["responses"]["401"] = refusal
