"""What /docs says beyond what FastAPI finds out by itself."""

from typing import Any

from fastapi import FastAPI

from api.access.authorization import is_open_path
from api.errors.tree import IncorrectApiKey, IncorrectStreamToken, MissingApiKey
from api.intake.headers import IDEMPOTENCY_KEY
from api.openapi.error_description import describe_errors
from api.openapi.event_description import describe_event_bodies
from api.openapi.webhook_description import describe_webhook_bodies, describe_webhooks
from api.schemas.jobs import JOB_ID_EXAMPLE
from shared.errors import ServerError

_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key of this server."},
    "stream_token": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "A token of `POST /v1/jobs/{job_id}/stream-token`, for the events of that job alone.",
    },
}

_REQUEST_ID = {
    "description": "The id of the request in the logs of the server: the one that it came with in "
    "`X-Request-Id`, or a new one.",
    "schema": {"type": "string", "examples": ["4be0643f1d98573b97cdca98a65347dd"]},
}

JOB_ID_HEADER = {
    "X-Job-Id": {
        "description": "The id of the job; on an error only where there is a job.",
        "schema": {"type": "string", "examples": [JOB_ID_EXAMPLE]},
    }
}

SUBMIT_HEADERS = {
    **JOB_ID_HEADER,
    "Idempotent-Replayed": {
        "description": "`true` where the `Idempotency-Key` stood for a job already; else not sent.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}

TRANSCRIPT_HEADERS = {
    **SUBMIT_HEADERS,
    "X-Engine": {
        "description": "The engine that transcribed it.",
        "schema": {"type": "string", "examples": ["qwen3"]},
    },
    "X-Model": {
        "description": "The model that the engine ran; what is not ASCII is percent-encoded.",
        "schema": {"type": "string", "examples": ["Qwen/Qwen3-ASR-1.7B"]},
    },
    "X-Transcript-Complete": {
        "description": "`false` where speech may be missing from the text; else not sent.",
        "schema": {"type": "string", "enum": ["false"]},
    },
    "X-Transcript-Warnings": {
        "description": "How many warnings there are about the transcript; not sent if there is none.",
        "schema": {"type": "integer", "minimum": 1, "examples": [1]},
    },
}


JOB_TRANSCRIPT_HEADERS = {
    name: header for name, header in TRANSCRIPT_HEADERS.items() if name != "Idempotent-Replayed"
}

PLAIN_EXAMPLE = "Good morning.\n"

_JOB_OPERATIONS = {
    "read_one_job": "How the job stands.",
    "read_transcript": "Its transcript, when it has succeeded.",
    "follow_job": "Its events.",
    "create_stream_token": "A token for its events.",
    "delete_one_job": "Cancel or delete it.",
}

JOB_LINKS = {
    name: {"operationId": name, "parameters": {"job_id": "$response.body#/id"}, "description": meaning}
    for name, meaning in _JOB_OPERATIONS.items()
}

PAGE_LINKS = {
    "list_all_jobs": {
        "operationId": "list_all_jobs",
        "parameters": {"after": "$response.body#/next_cursor"},
        "description": "The next page, where `has_more`.",
    }
}


def describe_streams(
    meaning: str, stream: dict[str, Any], headers: dict[str, Any] = JOB_ID_HEADER
) -> dict[int | str, dict[str, Any]]:
    """The 200 of a route that answers with server-sent events; `stream` is what is said of them."""
    return {200: {"description": meaning, "content": {"text/event-stream": stream}, "headers": headers}}


def correct_openapi(app: FastAPI, *, asks_for_keys: bool) -> None:
    """Take out the 422 that FastAPI documents on its own, here a 400, and add what it does not know of."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _correct(generate(), asks_for_keys=asks_for_keys)
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]


def _correct(document: dict[str, Any], *, asks_for_keys: bool) -> None:
    schemas = document["components"]["schemas"]
    document["components"]["schemas"] = {**describe_event_bodies(), **describe_webhook_bodies(), **schemas}
    document["webhooks"] = describe_webhooks()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _drop_own_refusal(operation["responses"])
            _drop_null(operation.get("parameters", []))
            if asks_for_keys and not is_open_path(path):
                _ask_for_key(operation)
            for status, response in operation["responses"].items():
                headers = {"X-Request-Id": _REQUEST_ID}
                if _is_of_job(operation) and status != "401":
                    headers |= JOB_ID_HEADER
                response["headers"] = {**response.get("headers", {}), **headers}
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)
    if asks_for_keys:
        document["components"]["securitySchemes"] = _SCHEMES


def _is_of_job(operation: dict[str, Any]) -> bool:
    names = {parameter["name"] for parameter in operation.get("parameters", [])}
    return not names.isdisjoint({"job_id", IDEMPOTENCY_KEY})


def _drop_own_refusal(responses: dict[str, Any]) -> None:
    schema = responses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if schema.get("$ref", "").endswith("/HTTPValidationError"):
        del responses["422"]


def _drop_null(parameters: list[dict[str, Any]]) -> None:
    """A parameter that may be absent is never null."""
    for parameter in parameters:
        kinds = parameter["schema"].pop("anyOf", ())
        for kind in kinds:
            if kind != {"type": "null"}:
                parameter["schema"].update(kind)


def _ask_for_key(operation: dict[str, Any]) -> None:
    kinds: list[type[ServerError]] = [MissingApiKey, IncorrectApiKey]
    operation["security"] = [{"bearer": []}]
    if any(parameter["name"] == "token" for parameter in operation.get("parameters", [])):
        kinds.append(IncorrectStreamToken)
        operation["security"].append({"stream_token": []})
    refusal = describe_errors(*kinds)[401]
    del refusal["model"]
    refusal["content"]["application/json"]["schema"]["$ref"] = "#/components/schemas/ErrorBody"
    operation["responses"]["401"] = refusal
