"""Descriptions of errors for /docs: each status of a route, with every `code` it can have."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from api.errors.answers import UNFORESEEN, ErrorAnswer, list_answers
from api.errors.tree import JobFailed, TranscriptionFailed
from api.schemas.errors import ErrorBody
from shared.errors import ServerError
from shared.jobs import FailureCode

_NO_CODE = (
    "The value of `param` is not supported, alone or in this combination; `message` lists valid values."
)
_UNEXPECTED = "An unexpected error. The server's log has the details under the X-Request-Id."
_FAILURES = {
    FailureCode.AUDIO_UNDECODABLE: "The decoder failed in the middle of the file.",
    FailureCode.AUDIO_TOO_LONG: "The file has clearly more audio than its header declares, or than allowed.",
    FailureCode.UPLOAD_MISSING: "The stored file no longer exists.",
    FailureCode.MODEL_UNAVAILABLE: "The engine could not load its model.",
    FailureCode.ENGINE_ERROR: "The engine failed on this audio.",
    FailureCode.ENGINE_CRASH: "The model process died too often while it served this job.",
    FailureCode.WORKER_LOST: "The worker died too often while it served this job.",
    FailureCode.WORDS_UNSUPPORTED: "The detected language has no word timestamps.",
    FailureCode.TIMEOUT: "Inference took longer than the job's deadline.",
    FailureCode.EXPIRED: "No worker took the job within QUEUE_TTL_S.",
}

_HEADERS: Mapping[str, Any] = {
    "Retry-After": {
        "description": "Seconds after which a retry may succeed.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 60, "examples": [5]},
    },
    "WWW-Authenticate": {
        "description": "The authentication scheme: an API key as a bearer token.",
        "schema": {"type": "string", "const": "Bearer"},
    },
    "x-should-retry": {
        "description": "`false` if the same request would fail again. OpenAI's clients obey it.",
        "schema": {"type": "string", "enum": ["false"]},
    },
}


def describe_errors(*kinds: type[ServerError]) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of a route that can raise these classes, and unexpected exceptions."""
    answers = [_Described(answer, _explain(kind, answer)) for kind in kinds for answer in list_answers(kind)]
    answers.append(_Described(UNFORESEEN, _UNEXPECTED))
    by_status: dict[int, dict[str | None, _Described]] = {}
    for described in sorted(answers, key=lambda described: described.answer.status):
        by_status.setdefault(described.answer.status, {}).setdefault(described.answer.code, described)
    return {status: _describe_status(status, list(by_code.values())) for status, by_code in by_status.items()}


class _Described(NamedTuple):
    answer: ErrorAnswer
    meaning: str


def _explain(kind: type[ServerError], answer: ErrorAnswer) -> str:
    if answer.code is None:
        return _NO_CODE
    if issubclass(kind, JobFailed | TranscriptionFailed):
        return _FAILURES[FailureCode(answer.code)]
    return (kind.__doc__ or "").partition("\n")[0]


def _describe_status(status: int, answers: list[_Described]) -> dict[str, Any]:
    lines = [f"- `{described.answer.code or 'null'}`: {described.meaning}" for described in answers]
    return {
        "model": ErrorBody,
        "description": "\n".join([f"{HTTPStatus(status).phrase}, by `code`:", "", *lines]),
        "headers": _find_headers(status, answers),
        "content": {"application/json": {"schema": _narrow(answers)}},
    }


def _find_headers(status: int, answers: list[_Described]) -> dict[str, Any]:
    names = {name for described in answers for name in described.answer.headers}
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        names.add("Retry-After")
    return {name: _HEADERS[name] for name in sorted(names)}


def _narrow(answers: list[_Described]) -> dict[str, Any]:
    """Return the codes and types of these answers, which ErrorBody leaves open."""
    codes = [described.answer.code for described in answers]
    types = sorted({described.answer.type for described in answers})
    return {"properties": {"error": {"properties": {"code": {"enum": codes}, "type": {"enum": types}}}}}
