"""What /docs says beyond what FastAPI finds out by itself."""

from typing import Any

from fastapi import FastAPI

from api.schemas import ErrorBody

_MEANINGS = {
    400: "Something in the request is wrong; `param` names it.",
    404: "There is no such job or model.",
    409: "The job was cancelled while it was waited for.",
    413: "The file is larger than MAX_UPLOAD_BYTES.",
    500: "The transcription failed; `code` says how.",
    503: "Nothing can be taken in now; try again after Retry-After seconds.",
    504: "The transcription took longer than REQUEST_TIMEOUT.",
    507: "There is no room left for uploads.",
}

JOB_ID_HEADER = {"X-Job-Id": {"description": "The id of the job.", "schema": {"type": "string"}}}


def describe_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route."""
    return {status: {"model": ErrorBody, "description": _MEANINGS[status]} for status in statuses}


def describe_streams(meaning: str) -> dict[int | str, dict[str, Any]]:
    """The 200 of a route that answers with server-sent events."""
    content = {"text/event-stream": {"schema": {"type": "string"}}}
    return {200: {"description": meaning, "content": content, "headers": JOB_ID_HEADER}}


def correct_openapi(app: FastAPI) -> None:
    """Take out the 422 that FastAPI documents on its own: here such requests are answered with 400."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        for unused in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(unused, None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
