"""The answers to errors: one table from error class to HTTP status and code, in OpenAI's shape."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
from starlette.responses import JSONResponse

from api.errors import tree, urls
from shared import errors
from shared.jobs import FailureCode

INVALID = "invalid_request_error"
SERVER = "server_error"
_RATE_LIMIT = "rate_limit_error"

# OpenAI's clients retry after 408, 409, 429 and any 5XX, and upload the file again each time.
_SOON = {"Retry-After": "5"}
_NEVER = {"x-should-retry": "false"}
_BEARER = {"WWW-Authenticate": "Bearer"}


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """The fixed part of an answer; the message and usually `param` come from the error."""

    status: int
    type: str
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    param: str | None = None


ErrorObject = dict[str, dict[str, str | None]]

_Table = Mapping[type[errors.ServerError], ErrorAnswer]

_SUBMIT: _Table = {
    errors.InvalidRequest: ErrorAnswer(400, INVALID),
    tree.UnsupportedValue: ErrorAnswer(400, INVALID, "unsupported_value"),
    tree.ModelNotFound: ErrorAnswer(404, INVALID, "model_not_found"),
    tree.UploadTooLarge: ErrorAnswer(413, INVALID, "upload_too_large"),
    tree.UploadStalled: ErrorAnswer(400, INVALID, "upload_stalled"),
    errors.UnreadableAudio: ErrorAnswer(400, INVALID, "audio_undecodable"),
    tree.AudioTooShort: ErrorAnswer(400, INVALID, "audio_too_short"),
    errors.AudioTooLong: ErrorAnswer(400, INVALID, "audio_too_long"),
    errors.IdempotencyKeyReused: ErrorAnswer(422, INVALID, "idempotency_key_reused"),
    errors.QueueFull: ErrorAnswer(429, _RATE_LIMIT, "rate_limit_exceeded"),
    tree.NoWorker: ErrorAnswer(503, SERVER, "no_worker", _SOON),
    errors.QueueUnavailable: ErrorAnswer(503, SERVER, "queue_unavailable", _SOON),
    errors.MediaServiceDown: ErrorAnswer(503, SERVER, "media_service_down", _SOON),
    errors.StorageFull: ErrorAnswer(507, SERVER, "storage_full", _NEVER),
}
_FETCH: _Table = {
    urls.UrlInputOff: ErrorAnswer(400, INVALID, "url_input_off"),
    urls.UrlRefused: ErrorAnswer(400, INVALID, "url_refused"),
    urls.UrlUnreachable: ErrorAnswer(400, INVALID, "url_unreachable"),
    urls.UrlFailed: ErrorAnswer(400, INVALID, "url_failed"),
    urls.TooManyFetches: ErrorAnswer(429, _RATE_LIMIT, "too_many_fetches", _SOON),
}
_FIND: _Table = {
    tree.JobNotFound: ErrorAnswer(404, INVALID, "job_not_found"),
    tree.JobGone: ErrorAnswer(410, INVALID, "job_gone"),
}
_BY_CLASS: _Table = {
    **_SUBMIT,
    **_FETCH,
    **_FIND,
    tree.MissingApiKey: ErrorAnswer(401, INVALID, "missing_api_key", _BEARER),
    tree.IncorrectApiKey: ErrorAnswer(401, INVALID, "invalid_api_key", _BEARER),
    tree.IncorrectStreamToken: ErrorAnswer(401, INVALID, "invalid_stream_token", _BEARER),
    tree.QueueTooLong: ErrorAnswer(429, _RATE_LIMIT, "queue_too_long"),
    tree.TooManyStreams: ErrorAnswer(429, _RATE_LIMIT, "too_many_streams", _SOON),
    tree.NotReady: ErrorAnswer(503, SERVER, "queue_full"),
    tree.ModelUnavailable: ErrorAnswer(503, SERVER, "model_unavailable"),
    tree.JobUnfinished: ErrorAnswer(409, INVALID, "job_unfinished", _NEVER),
    tree.TranscriptionCancelled: ErrorAnswer(409, INVALID, "cancelled", _NEVER),
    tree.SyncWaitOver: ErrorAnswer(504, SERVER, "sync_wait_over", _NEVER),
    tree.ServerStopping: ErrorAnswer(503, SERVER, "server_stopping", _NEVER),
    tree.StreamInterrupted: ErrorAnswer(500, SERVER, "stream_interrupted", _NEVER),
    errors.ServerError: ErrorAnswer(500, SERVER),
}

SUBMIT_ERRORS = tuple(_SUBMIT)
"""The errors that can prevent a request from becoming a job, at every endpoint."""

FETCH_ERRORS = tuple(_FETCH)
"""The errors of a request that sends a `url` instead of a file."""

FIND_ERRORS = (*_FIND, errors.QueueUnavailable)
"""The errors of looking up a job."""

_BY_FAILURE: Mapping[FailureCode, ErrorAnswer] = {
    FailureCode.AUDIO_UNDECODABLE: ErrorAnswer(400, INVALID, "audio_undecodable", param="file"),
    FailureCode.AUDIO_TOO_LONG: ErrorAnswer(400, INVALID, "audio_too_long", param="file"),
    FailureCode.UPLOAD_MISSING: ErrorAnswer(500, SERVER, "upload_missing"),
    FailureCode.MODEL_UNAVAILABLE: ErrorAnswer(503, SERVER, "model_unavailable", _NEVER),
    FailureCode.ENGINE_ERROR: ErrorAnswer(500, SERVER, "engine_error", _NEVER),
    FailureCode.ENGINE_CRASH: ErrorAnswer(500, SERVER, "engine_crash", _NEVER),
    FailureCode.WORKER_LOST: ErrorAnswer(500, SERVER, "worker_lost", _NEVER),
    FailureCode.WORDS_UNSUPPORTED: ErrorAnswer(400, INVALID, "words_unsupported_for_language"),
    FailureCode.TIMEOUT: ErrorAnswer(504, SERVER, "timeout", _NEVER),
    FailureCode.EXPIRED: ErrorAnswer(503, SERVER, "expired", _NEVER),  # a repeat would wait as long
}

UNFORESEEN = ErrorAnswer(500, SERVER, "internal_error")
"""The answer to an exception outside the tree."""


def find_answer(error: Exception) -> ErrorAnswer:
    """Return the fixed part of the answer to `error`."""
    if isinstance(error, tree.JobFailed):
        return _answer_failed_job(error.failure.code)
    if isinstance(error, tree.TranscriptionFailed):
        return _BY_FAILURE.get(error.failure.code, UNFORESEEN)
    return _find_by_class(type(error))


def list_answers(kind: type[errors.ServerError]) -> tuple[ErrorAnswer, ...]:
    """Return the fixed part of each answer that errors of this class can have."""
    if issubclass(kind, tree.JobFailed):
        return tuple(_answer_failed_job(code) for code in FailureCode)
    if issubclass(kind, tree.TranscriptionFailed):
        return tuple(_BY_FAILURE.values())
    return (_find_by_class(kind),)


def error_body(error: Exception) -> ErrorObject:
    """Return the body of the answer to `error`; it shows no text of an exception outside the tree."""
    answer = find_answer(error)
    if not isinstance(error, errors.ServerError):
        return compose_body("Internal server error. Report the X-Request-Id to the operator.", answer)
    return compose_body(error.message, answer, error.param)


def compose_body(message: str, answer: ErrorAnswer, param: str | None = None) -> ErrorObject:
    """Return `{"error": {message, type, param, code}}`."""
    described = {"message": message, "type": answer.type, "param": param or answer.param, "code": answer.code}
    return {"error": described}


def answer_error(error: Exception) -> JSONResponse:
    """Return the whole response to `error`, and let the log line of the request name its cause."""
    answer = find_answer(error)
    facts = {"code": answer.code, **{name: getattr(error, name, None) for name in ("param", "limit")}}
    structlog.contextvars.bind_contextvars(**{name: fact for name, fact in facts.items() if fact})
    headers = dict(answer.headers)
    if isinstance(error, errors.ServerError) and error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    return JSONResponse(error_body(error), answer.status, headers)


def _answer_failed_job(code: FailureCode) -> ErrorAnswer:
    return ErrorAnswer(409, INVALID, code, _NEVER)


def _find_by_class(kind: type[Exception]) -> ErrorAnswer:
    return next((_BY_CLASS[above] for above in kind.__mro__ if above in _BY_CLASS), UNFORESEEN)
