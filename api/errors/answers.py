"""How errors are answered: one table from error class to HTTP status, in OpenAI's shape."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path

from api.errors.tree import (
    ClientDisconnected,
    IncorrectApiKey,
    IncorrectStreamToken,
    JobFailed,
    JobUnfinished,
    MissingApiKey,
    ModelNotFound,
    QueueTooLong,
    ServerStopping,
    StreamInterrupted,
    SyncWaitOver,
    TooManyFetches,
    TooManyStreams,
    TranscriptionCancelled,
    UnsupportedValue,
    UrlFailed,
    UrlInputOff,
    UrlRefused,
    UrlUnreachable,
)
from shared import errors
from shared.jobs import FailureCode

_INVALID = "invalid_request_error"
_SERVER = "server_error"
_RATE_LIMIT = "rate_limit_error"

# The clients of OpenAI repeat a request after any status from 500 on, 408, 409 and 429, file and all.
_SOON = {"Retry-After": "5"}
_NEVER = {"x-should-retry": "false"}
_BEARER = {"WWW-Authenticate": "Bearer"}


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """The fixed part of an answer; message and usually `param` come from the error."""

    status: int
    type: str
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    param: str | None = None


_BY_CLASS: Mapping[type[errors.ServerError], ErrorAnswer] = {
    errors.InvalidRequest: ErrorAnswer(400, _INVALID),
    errors.UnreadableAudio: ErrorAnswer(400, _INVALID, "audio_undecodable"),
    errors.AudioTooShort: ErrorAnswer(400, _INVALID, "audio_too_short"),
    errors.AudioTooLong: ErrorAnswer(400, _INVALID, "audio_too_long"),
    errors.UploadStalled: ErrorAnswer(400, _INVALID, "upload_stalled"),
    errors.UploadTooLarge: ErrorAnswer(413, _INVALID, "upload_too_large"),
    errors.StorageFull: ErrorAnswer(507, _SERVER, "storage_full", _NEVER),
    errors.JobNotFound: ErrorAnswer(404, _INVALID, "job_not_found"),
    errors.JobGone: ErrorAnswer(410, _INVALID, "job_gone"),
    errors.QueueFull: ErrorAnswer(429, _RATE_LIMIT, "rate_limit_exceeded"),
    errors.NotReady: ErrorAnswer(503, _SERVER, "queue_full"),
    errors.IdempotencyKeyReused: ErrorAnswer(422, _INVALID, "idempotency_key_reused"),
    errors.QueueUnavailable: ErrorAnswer(503, _SERVER, "queue_unavailable", _SOON),
    errors.NoWorker: ErrorAnswer(503, _SERVER, "no_worker", _SOON),
    errors.MediaServiceDown: ErrorAnswer(503, _SERVER, "media_service_down", _SOON),
    errors.ServerError: ErrorAnswer(500, _SERVER),
    MissingApiKey: ErrorAnswer(401, _INVALID, "missing_api_key", _BEARER),
    IncorrectApiKey: ErrorAnswer(401, _INVALID, "invalid_api_key", _BEARER),
    IncorrectStreamToken: ErrorAnswer(401, _INVALID, "invalid_stream_token", _BEARER),
    QueueTooLong: ErrorAnswer(429, _RATE_LIMIT, "queue_too_long"),
    TooManyFetches: ErrorAnswer(429, _RATE_LIMIT, "too_many_fetches", _SOON),
    TooManyStreams: ErrorAnswer(429, _RATE_LIMIT, "too_many_streams", _SOON),
    ModelNotFound: ErrorAnswer(404, _INVALID, "model_not_found"),
    UnsupportedValue: ErrorAnswer(400, _INVALID, "unsupported_value"),
    UrlFailed: ErrorAnswer(400, _INVALID, "url_failed"),
    UrlInputOff: ErrorAnswer(400, _INVALID, "url_input_off"),
    UrlRefused: ErrorAnswer(400, _INVALID, "url_refused"),
    UrlUnreachable: ErrorAnswer(400, _INVALID, "url_unreachable"),
    JobUnfinished: ErrorAnswer(409, _INVALID, "job_unfinished", _NEVER),
    TranscriptionCancelled: ErrorAnswer(409, _INVALID, "cancelled", _NEVER),
    SyncWaitOver: ErrorAnswer(504, _SERVER, "sync_wait_over", _NEVER),
    StreamInterrupted: ErrorAnswer(500, _SERVER, "stream_interrupted", _NEVER),
    ServerStopping: ErrorAnswer(503, _SERVER, "server_stopping", _NEVER),
}

_BY_FAILURE: Mapping[FailureCode, ErrorAnswer] = {
    FailureCode.AUDIO_UNDECODABLE: ErrorAnswer(400, _INVALID, "audio_undecodable", param="file"),
    FailureCode.AUDIO_TOO_LONG: ErrorAnswer(400, _INVALID, "audio_too_long", param="file"),
    FailureCode.UPLOAD_MISSING: ErrorAnswer(500, _SERVER, "upload_missing"),
    FailureCode.MODEL_UNAVAILABLE: ErrorAnswer(503, _SERVER, "model_unavailable", _NEVER),
    FailureCode.ENGINE_ERROR: ErrorAnswer(500, _SERVER, "engine_error", _NEVER),
    FailureCode.ENGINE_CRASH: ErrorAnswer(500, _SERVER, "engine_crash", _NEVER),
    FailureCode.WORKER_LOST: ErrorAnswer(500, _SERVER, "worker_lost", _NEVER),
    FailureCode.WORDS_UNSUPPORTED: ErrorAnswer(400, _INVALID, "words_unsupported_for_language"),
    FailureCode.TIMEOUT: ErrorAnswer(504, _SERVER, "timeout", _NEVER),
    FailureCode.EXPIRED: ErrorAnswer(503, _SERVER, "expired", _NEVER),  # a repeat would wait as long
}

# Nobody reads it; in the log it tells these requests from those that were refused.
_CLIENT_LEFT = 499

UNFORESEEN = ErrorAnswer(500, _SERVER, "internal_error")
"""The answer to an error that is none of the tree."""


def find_answer(error: Exception) -> ErrorAnswer:
    """The fixed part of the answer to `error`."""
    if isinstance(error, JobFailed):
        return _answer_failed_job(error.failure.code)
    if isinstance(error, errors.TranscriptionFailed):
        return _BY_FAILURE.get(error.failure.code, UNFORESEEN)
    return _find_by_class(type(error))


def list_answers(kind: type[errors.ServerError]) -> tuple[ErrorAnswer, ...]:
    """The fixed parts of the answers there are to errors of this class."""
    if issubclass(kind, JobFailed):
        return tuple(_answer_failed_job(code) for code in FailureCode)
    if issubclass(kind, errors.TranscriptionFailed):
        return tuple(_BY_FAILURE.values())
    return (_find_by_class(kind),)


def error_body(error: Exception) -> dict[str, dict[str, str | None]]:
    """`{"error": {message, type, param, code}}`; of an unforeseen error it tells nothing."""
    answer = find_answer(error)
    if not isinstance(error, errors.ServerError):
        return _body("The server failed in a way nobody foresaw; its log says more.", answer, None)
    return _body(error.message, answer, error.param)


def answer_error(error: Exception) -> JSONResponse:
    """The whole response to `error`."""
    answer = find_answer(error)
    headers = dict(answer.headers)
    if isinstance(error, errors.QueueFull | errors.NotReady | QueueTooLong):
        headers["Retry-After"] = str(error.retry_after_s)
    return JSONResponse(error_body(error), answer.status, headers)


def install_error_handlers(app: FastAPI) -> None:
    """Let every error that a route raises be answered in this shape."""
    app.exception_handler(errors.ServerError)(_on_server_error)
    app.exception_handler(RequestValidationError)(_on_invalid_parameter)
    app.exception_handler(HTTPException)(_on_http_exception)
    app.exception_handler(ClientDisconnect)(_on_client_left)
    app.exception_handler(ClientDisconnected)(_on_client_left)


def _answer_failed_job(code: FailureCode) -> ErrorAnswer:
    return ErrorAnswer(409, _INVALID, code, _NEVER)


def _find_by_class(kind: type[Exception]) -> ErrorAnswer:
    kinds = (above for above in kind.__mro__ if issubclass(above, errors.ServerError))
    return next((_BY_CLASS[above] for above in kinds if above in _BY_CLASS), UNFORESEEN)


def _body(message: str, answer: ErrorAnswer, param: str | None) -> dict[str, dict[str, str | None]]:
    described = {"message": message, "type": answer.type, "param": param or answer.param, "code": answer.code}
    return {"error": described}


async def _on_server_error(_request: Request, error: errors.ServerError) -> Response:
    return answer_error(error)


async def _on_invalid_parameter(_request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return answer_error(errors.InvalidRequest(f"{name}: {first['msg']}", param=name))


async def _on_http_exception(request: Request, error: HTTPException) -> Response:
    messages = {
        404: f"There is nothing at {request.url.path}; /docs lists what there is.",
        405: f"{request.method} is not possible at {request.url.path}; /docs lists what is.",
    }
    kind = _INVALID if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR else _SERVER
    message = messages.get(error.status_code, str(error.detail))
    body = _body(message, ErrorAnswer(error.status_code, kind), None)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _list_methods(request, headers.get("Allow", "GET, HEAD"))
    return JSONResponse(body, error.status_code, headers)


def _list_methods(request: Request, of_route: str) -> str:
    """All methods that its path has: a route names its own alone, and there may be more than one."""
    app: FastAPI = request.app
    described = (
        method.upper()
        for template, operations in app.openapi()["paths"].items()
        if compile_path(template)[0].fullmatch(request.url.path)
        for method in operations
    )
    return ", ".join(sorted({*of_route.split(", "), *described}))


async def _on_client_left(_request: Request, _error: Exception) -> Response:
    return Response(status_code=_CLIENT_LEFT)
