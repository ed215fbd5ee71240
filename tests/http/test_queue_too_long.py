"""A synchronous request is refused at once over real HTTP if the queue is longer than its timeout."""

import socket
from collections.abc import Mapping

import httpx
import pytest

from tests.support.api_server import OpenClient, ServedApi, ServeWith
from tests.support.audio import make_tones, write_wav
from tests.support.scripted_worker import HeldWorker
from tests.support.server import wait_for

SYNC, STREAM, JOBS = "/v1/audio/transcriptions", "/v1/audio/transcriptions/stream", "/v1/jobs"
PYTHON, NODE = "x-stainless-read-timeout", "X-Stainless-Timeout"
AUDIO_S = 10.0
AUDIO = write_wav(make_tones(AUDIO_S))

LET_IN = b"HTTP/1.1 100 "
REFUSED = b"HTTP/1.1 429 "


@pytest.fixture(scope="module")
def usual_api(serve_with: ServeWith) -> ServedApi:
    """An api that lets clients wait as long as they like."""
    return serve_with()


@pytest.fixture
def usual(usual_api: ServedApi, open_client: OpenClient) -> httpx.Client:
    return open_client(usual_api.url)


def queue(api: httpx.Client, jobs: int, *, priority: str = "interactive") -> None:
    """Let so many jobs wait, behind one that the worker holds."""
    for _ in range(jobs + 1):
        answer = api.post(JOBS, files={"file": AUDIO}, data={"priority": priority})
        assert answer.status_code == 202
        wait_for(lambda: api.get("/health").json()["queued_jobs"] <= jobs)
    wait_for(lambda: api.get("/health").json()["queued_jobs"] == jobs)


def knock(api: httpx.Client, headers: Mapping[str, str], *, endpoint: str = SYNC) -> bytes:
    """What the api says to the headers of a request whose body is not sent before it is asked for."""
    lines = [f"POST {endpoint} HTTP/1.1", "Host: a", "Content-Length: 2000000", "Expect: 100-continue"]
    lines += ["Content-Type: multipart/form-data; boundary=b"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", api.base_url.port or 0), timeout=20) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        return client.recv(len(LET_IN))


@pytest.mark.parametrize("header", [PYTHON, NODE])
def test_a_request_that_would_begin_too_late_is_refused(
    usual: httpx.Client, held_worker: HeldWorker, header: str
) -> None:
    queue(usual, 3)
    answer = usual.post(SYNC, files={"file": AUDIO}, headers={header: "8"})
    assert answer.status_code == 429
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("rate_limit_error", None, "queue_too_long")
    assert "30 s" in error["message"]
    assert "8 s" in error["message"]
    assert answer.headers["retry-after"] == "22"
    assert usual.get("/health").json()["queued_jobs"] == 3


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({PYTHON: "8"}, REFUSED),
        ({PYTHON: "8.5"}, REFUSED),
        ({PYTHON: "600", NODE: "8"}, REFUSED),
        ({PYTHON: "25"}, LET_IN),
        ({PYTHON: "600"}, LET_IN),
        ({}, LET_IN),
        *(({PYTHON: text}, LET_IN) for text in ("", "0", "-8", "nan", "inf", "soon", "1e9")),
        ({PYTHON: "8", "Idempotency-Key": "k"}, LET_IN),
    ],
)
def test_the_client_timeout_decides_before_the_file_is_sent(
    usual: httpx.Client, held_worker: HeldWorker, headers: dict[str, str], said: bytes
) -> None:
    queue(usual, 3)
    assert knock(usual, headers) == said


@pytest.mark.parametrize("endpoint", [STREAM, JOBS])
def test_a_streamed_request_is_accepted(usual: httpx.Client, held_worker: HeldWorker, endpoint: str) -> None:
    queue(usual, 3)
    assert knock(usual, {PYTHON: "8"}, endpoint=endpoint) == LET_IN


def test_batch_jobs_do_not_count(usual: httpx.Client, held_worker: HeldWorker) -> None:
    queue(usual, 3, priority="batch")
    assert knock(usual, {PYTHON: "8"}) == LET_IN


def test_a_retry_after_the_given_time_is_accepted(usual: httpx.Client, held_worker: HeldWorker) -> None:
    queue(usual, 3)
    assert knock(usual, {PYTHON: "8"}) == REFUSED
    held_worker.go_on.set()
    wait_for(lambda: usual.get("/health").json()["queued_jobs"] == 0)
    assert usual.post(SYNC, files={"file": AUDIO}, headers={PYTHON: "8"}).status_code == 200


def test_a_known_request_is_answered(usual: httpx.Client, held_worker: HeldWorker) -> None:
    headers = {PYTHON: "8", "Idempotency-Key": "k"}
    held_worker.go_on.set()
    assert usual.post(SYNC, files={"file": AUDIO}, headers=headers).status_code == 200
    held_worker.go_on.clear()
    queue(usual, 3)
    again = usual.post(SYNC, files={"file": AUDIO}, headers=headers)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")


@pytest.mark.parametrize(("sync_wait_s", "said"), [(8, REFUSED), (60, LET_IN)])
def test_the_servers_own_wait_limit_counts_too(
    serve_with: ServeWith, open_client: OpenClient, held_worker: HeldWorker, sync_wait_s: float, said: bytes
) -> None:
    api = open_client(serve_with(sync_wait_s=sync_wait_s).url)
    queue(api, 3)
    assert knock(api, {}) == said
    assert knock(api, {PYTHON: "600"}) == said
