"""How errors are described in /docs: by status, with every `code` that a route answers them with."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from api.errors.answers import UNFORESEEN, ErrorAnswer, list_answers
from api.errors.tree import JobFailed, ModelNotFound, UnsupportedValue
from api.schemas.errors import ErrorBody
from shared.errors import (
    AudioTooLong,
    AudioTooShort,
    IdempotencyKeyReused,
    InvalidRequest,
    JobGone,
    JobNotFound,
    MediaServiceDown,
    NoWorker,
    QueueFull,
    QueueUnavailable,
    ServerError,
    StorageFull,
    TranscriptionFailed,
    UnreadableAudio,
    UploadStalled,
    UploadTooLarge,
)
from shared.jobs import FailureCode

SUBMIT_ERRORS: tuple[type[ServerError], ...] = (
    InvalidRequest, UnsupportedValue, ModelNotFound,
    UploadTooLarge, UploadStalled, UnreadableAudio, AudioTooShort, AudioTooLong,
    IdempotencyKeyReused, QueueFull, NoWorker, QueueUnavailable, MediaServiceDown, StorageFull,
)  # fmt: skip
"""What may keep a request from becoming a job, by any endpoint."""

FIND_ERRORS: tuple[type[ServerError], ...] = (JobNotFound, JobGone, QueueUnavailable)
"""What may keep a job from being found."""

_MEANINGS = {
    400: "Something in the request is wrong; `param` names it.",
    401: "The caller may not do this: no key, or a wrong one.",
    404: "There is no such thing.",
    409: "The job has no transcript to answer with.",
    410: "It was there, and is gone for good.",
    413: "The file is larger than MAX_UPLOAD_BYTES or the API key allows.",
    422: "The `Idempotency-Key` was sent before with another request.",
    429: "There is too much at once, of the server or of the API key; try again after Retry-After seconds.",
    500: "The server failed; `code` says how.",
    503: "It cannot be served now; where Retry-After says so, try again after as many seconds.",
    504: "The transcription takes longer than it may.",
    507: "There is no room left for uploads.",
}

_NO_CODE = "What `param` names cannot be served, or not together with the rest; `message` says what can."
_FAILURES = {
    FailureCode.AUDIO_UNDECODABLE: "The decoder gave up in the middle of the file.",
    FailureCode.AUDIO_TOO_LONG: "There was clearly more audio than the file told, or more than is allowed.",
    FailureCode.UPLOAD_MISSING: "The stored file is gone.",
    FailureCode.MODEL_UNAVAILABLE: "The engine could not load its model.",
    FailureCode.ENGINE_ERROR: "The engine failed on this audio.",
    FailureCode.ENGINE_CRASH: "The model process died under this job too often.",
    FailureCode.WORKER_LOST: "The worker vanished under this job too often.",
    FailureCode.WORDS_UNSUPPORTED: "There are no word timestamps for the language that was detected.",
    FailureCode.TIMEOUT: "Inference took longer than the job's deadline.",
    FailureCode.EXPIRED: "No worker took the job within QUEUE_TTL_S.",
}
_NOBODY_FORESAW = "The server failed in a way nobody foresaw; its log says more."

_HEADERS: Mapping[str, Any] = {
    "Retry-After": {
        "description": "Seconds until it may be worth trying again.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 60, "examples": [5]},
    },
    "WWW-Authenticate": {
        "description": "How to show who is asking: by an API key.",
        "schema": {"type": "string", "const": "Bearer"},
    },
    "x-should-retry": {
        "description": "`false` where the same request would fail again: OpenAI's clients heed it.",
        "schema": {"type": "string", "enum": ["false"]},
    },
}


def describe_errors(*kinds: type[ServerError]) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route that may fail with errors of these classes, and with unforeseen ones."""
    answers = [_Described(answer, _explain(kind, answer)) for kind in kinds for answer in list_answers(kind)]
    answers.append(_Described(UNFORESEEN, _NOBODY_FORESAW))
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
        "description": "\n".join([_MEANINGS[status], "", "By `code`:", "", *lines]),
        "headers": _find_headers(status, answers),
        "content": {"application/json": {"schema": _narrow(answers)}},
    }


def _find_headers(status: int, answers: list[_Described]) -> dict[str, Any]:
    names = {name for described in answers for name in described.answer.headers}
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        names.add("Retry-After")
    return {name: _HEADERS[name] for name in sorted(names)}


def _narrow(answers: list[_Described]) -> dict[str, Any]:
    """What ErrorBody leaves open: the codes and types of these answers."""
    codes = [described.answer.code for described in answers]
    types = sorted({described.answer.type for described in answers})
    return {"properties": {"error": {"properties": {"code": {"enum": codes}, "type": {"enum": types}}}}}
