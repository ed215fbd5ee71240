"""What /docs says beyond what FastAPI finds out by itself."""

from typing import Any

from fastapi import FastAPI

from api.authorization import is_open_path
from api.schemas.errors import ErrorBody

_MEANINGS = {
    400: "Something in the request is wrong; `param` names it.",
    404: "There is no such job or model.",
    409: "The job was cancelled while it was waited for.",
    413: "The file is larger than MAX_UPLOAD_BYTES or the API key allows.",
    422: "The `Idempotency-Key` was sent before with another request.",
    429: "The queue is full, of the server or of the API key; try again after Retry-After seconds.",
    500: "The transcription failed; `code` says how.",
    503: "Nothing can be taken in now; try again after Retry-After seconds.",
    504: "The transcription took longer than REQUEST_TIMEOUT.",
    507: "There is no room left for uploads.",
}

_NO_KEY = "There is no API key in `Authorization: Bearer`, or one that is unknown here."

_RETRY_AFTER = {
    "description": "Seconds until it may be worth trying again.",
    "schema": {"type": "integer", "minimum": 1, "maximum": 60},
}
_RETRY_HEADERS = {status: {"headers": {"Retry-After": _RETRY_AFTER}} for status in (429, 503)}

JOB_ID_HEADER = {"X-Job-Id": {"description": "The id of the job.", "schema": {"type": "string"}}}

SUBMIT_HEADERS = {
    **JOB_ID_HEADER,
    "Idempotent-Replayed": {
        "description": "`true` where the `Idempotency-Key` stood for a job already; else not sent.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}

TRANSCRIPT_HEADERS = {
    **SUBMIT_HEADERS,
    "X-Engine": {"description": "The engine that transcribed it.", "schema": {"type": "string"}},
    "X-Model": {
        "description": "The model that the engine ran; what is not ASCII is percent-encoded.",
        "schema": {"type": "string"},
    },
    "X-Transcript-Complete": {
        "description": "`false` where speech may be missing from the text; else not sent.",
        "schema": {"type": "string", "enum": ["false"]},
    },
    "X-Transcript-Warnings": {
        "description": "How many warnings there are about the transcript; not sent if there is none.",
        "schema": {"type": "integer", "minimum": 1},
    },
}


def describe_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route."""
    return {
        status: {"model": ErrorBody, "description": _MEANINGS[status], **_RETRY_HEADERS.get(status, {})}
        for status in statuses
    }


def describe_streams(
    meaning: str, headers: dict[str, Any] = JOB_ID_HEADER
) -> dict[int | str, dict[str, Any]]:
    """The 200 of a route that answers with server-sent events."""
    content = {"text/event-stream": {"schema": {"type": "string"}}}
    return {200: {"description": meaning, "content": content, "headers": headers}}


def correct_openapi(app: FastAPI, *, asks_for_keys: bool) -> None:
    """Take out the 422 that FastAPI documents on its own, here a 400, and add what comes with keys."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        for path in document["paths"].values():
            for operation in path.values():
                if operation["responses"].get("422", {}).get("description") != _MEANINGS[422]:
                    operation["responses"].pop("422", None)
        for unused in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(unused, None)
        if asks_for_keys:
            _describe_keys(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _describe_keys(document: dict[str, Any]) -> None:
    document["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if is_open_path(path):
                continue
            operation["security"] = [{"bearer": []}]
            operation["responses"]["401"] = _describe_refusal(_NO_KEY)


def _describe_refusal(meaning: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
    return {"description": meaning, "content": content}
