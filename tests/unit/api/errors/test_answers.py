"""Every error has one answer in OpenAI's shape, without internal details."""

import re
from collections.abc import Iterator

import pytest

from api import errors as api_errors
from api.errors import tree, urls
from api.errors.answers import answer_error, error_body, find_answer
from shared import errors
from shared.jobs import Failure, FailureCode, JobState
from shared.record.backlog import AdmissionLimit, QueueLimits

QUEUE_FULL = errors.QueueFull(AdmissionLimit.QUEUED_JOBS, QueueLimits(max_queued_jobs=2), 7.2)

EXAMPLES: list[tuple[errors.ServerError, int, str | None, str | None]] = [
    (errors.InvalidRequest("no", param="language"), 400, "language", None),
    (errors.UnreadableAudio("no"), 400, "file", "audio_undecodable"),
    (tree.AudioTooShort(0.1), 400, "file", "audio_too_short"),
    (errors.AudioTooLong(60), 400, "file", "audio_too_long"),
    (tree.UploadStalled(10), 400, "file", "upload_stalled"),
    (tree.UploadTooLarge(10), 413, "file", "upload_too_large"),
    (errors.StorageFull(), 507, None, "storage_full"),
    (tree.JobNotFound("1"), 404, None, "job_not_found"),
    (tree.JobGone("1"), 410, None, "job_gone"),
    (tree.JobUnfinished("1", JobState.RUNNING), 409, None, "job_unfinished"),
    (tree.JobFailed(Failure(FailureCode.TIMEOUT, "no")), 409, None, "timeout"),
    (QUEUE_FULL, 429, None, "rate_limit_exceeded"),
    (tree.NotReady(QUEUE_FULL), 503, None, "queue_full"),
    (errors.IdempotencyKeyReused(), 422, "Idempotency-Key", "idempotency_key_reused"),
    (errors.QueueUnavailable(), 503, None, "queue_unavailable"),
    (tree.NoWorker(), 503, None, "no_worker"),
    (errors.MediaServiceDown(), 503, None, "media_service_down"),
    (tree.MissingApiKey(), 401, None, "missing_api_key"),
    (tree.IncorrectApiKey(), 401, None, "invalid_api_key"),
    (tree.IncorrectStreamToken(), 401, "token", "invalid_stream_token"),
    (tree.QueueTooLong(90, 8, limit="SYNC_WAIT_S"), 429, None, "queue_too_long"),
    (urls.TooManyFetches(2, "MAX_URL_FETCHES"), 429, "url", "too_many_fetches"),
    (tree.TooManyStreams(2, "MAX_STREAMS"), 429, None, "too_many_streams"),
    (tree.ModelNotFound("m", ["n"]), 404, "model", "model_not_found"),
    (tree.UnsupportedValue("no", param="response_format"), 400, "response_format", "unsupported_value"),
    (urls.UrlFailed("no"), 400, "url", "url_failed"),
    (urls.UrlInputOff(), 400, "url", "url_input_off"),
    (urls.UrlRefused(urls.Refusal.PORT, param="webhook_url"), 400, "webhook_url", "url_refused"),
    (urls.UrlUnreachable("http"), 400, "url", "url_unreachable"),
    (tree.ModelUnavailable("no"), 503, None, "model_unavailable"),
    (tree.TranscriptionCancelled(), 409, None, "cancelled"),
    (tree.ServerStopping("1"), 503, None, "server_stopping"),
    (tree.SyncWaitOver("1", 10), 504, None, "sync_wait_over"),
    (tree.StreamInterrupted("1"), 500, None, "stream_interrupted"),
]

FAILURES = {
    FailureCode.AUDIO_UNDECODABLE: 400,
    FailureCode.AUDIO_TOO_LONG: 400,
    FailureCode.UPLOAD_MISSING: 500,
    FailureCode.MODEL_UNAVAILABLE: 503,
    FailureCode.ENGINE_ERROR: 500,
    FailureCode.ENGINE_CRASH: 500,
    FailureCode.WORKER_LOST: 500,
    FailureCode.WORDS_UNSUPPORTED: 400,
    FailureCode.TIMEOUT: 504,
    FailureCode.EXPIRED: 503,
}


@pytest.mark.parametrize(
    ("error", "status", "param", "code"), EXAMPLES, ids=lambda value: type(value).__name__
)
def test_each_error_has_its_answer(
    error: errors.ServerError, status: int, param: str | None, code: str | None
) -> None:
    answer = answer_error(error)
    described = error_body(error)["error"]
    assert answer.status_code == status
    assert described["message"] == error.message
    assert (described["param"], described["code"]) == (param, code)
    kind = {429: "rate_limit_error"}.get(status, "server_error" if status >= 500 else "invalid_request_error")
    assert described["type"] == kind
    assert set(described) == {"message", "type", "param", "code"}


def test_every_error_class_is_tested() -> None:
    tried = {type(error) for error, *_ in EXAMPLES}
    abstract = {errors.ServerError, tree.TranscriptionFailed}
    assert set(_subclasses(errors.ServerError)) - abstract <= tried


def test_the_drawn_tree_has_every_class_under_its_base() -> None:
    drawn: dict[str, int] = {}
    for line in (api_errors.__doc__ or "").splitlines():
        if matched := re.match(r"((?:│   )*)[├└]── (\w+)( \*)? ", line):
            bases, name, is_shared = matched.groups()
            kind = getattr(errors if is_shared else tree, name, None) or getattr(urls, name)
            assert kind.__module__ == errors.__name__ or not is_shared
            drawn[name] = len(bases) // 4 + 1
    depths = {
        kind.__name__: kind.__mro__.index(errors.ServerError) for kind in _subclasses(errors.ServerError)
    }
    assert drawn == depths


@pytest.mark.parametrize("code", list(FailureCode))
def test_each_job_failure_keeps_its_code(code: FailureCode) -> None:
    error = tree.TranscriptionFailed(Failure(code, "it went wrong"))
    assert answer_error(error).status_code == FAILURES[code]
    assert error_body(error)["error"]["code"] == code
    assert error_body(error)["error"]["message"] == "it went wrong"


def test_permanent_failures_ask_clients_not_to_retry() -> None:
    for code in (FailureCode.TIMEOUT, FailureCode.ENGINE_CRASH, FailureCode.ENGINE_ERROR):
        answer = answer_error(tree.TranscriptionFailed(Failure(code, "")))
        assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    "error",
    [
        tree.NoWorker(),
        errors.QueueUnavailable(),
        errors.MediaServiceDown(),
        QUEUE_FULL,
        tree.TooManyStreams(2, "MAX_STREAMS"),
    ],
)
def test_temporary_errors_have_a_retry_after(error: errors.ServerError) -> None:
    assert 1 <= int(answer_error(error).headers["retry-after"]) <= 60


def test_an_unexpected_error_is_answered_without_its_text() -> None:
    answer = answer_error(ValueError("password: hunter2"))
    assert answer.status_code == 500
    assert b"hunter2" not in bytes(answer.body)
    assert find_answer(ValueError()).code == "internal_error"


def _subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    for below in kind.__subclasses__():
        yield below
        yield from _subclasses(below)


@pytest.mark.parametrize(("scheme", "is_named"), [("https", True), ("http", False)])
def test_a_certificate_is_named_only_where_the_url_has_one(scheme: str, *, is_named: bool) -> None:
    assert ("certificate" in urls.UrlUnreachable(scheme).message) == is_named
