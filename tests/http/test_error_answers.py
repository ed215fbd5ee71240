"""Errors over real HTTP have one shape and a request id, also for clients that are still sending."""

import json
import socket
from collections.abc import Iterable, MutableMapping
from typing import Any

import httpx
import pytest
import structlog

from tests.support.api_server import MAX_UPLOAD_BYTES
from tests.support.log_lines import capture_log_lines
from tests.support.scripted_worker import ScriptedWorker
from tests.support.server import wait_for

BOUNDARY = {"content-type": "multipart/form-data; boundary=x-y"}
PART = b'--x-y\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
WEBSOCKET = {**UPGRADE, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


def check_shape(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The error in an answer that has the shape of all errors."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    return error


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", ["/", "/nothing", "/v1/nothing", "/v1//jobs", "/static-offline-docs/x"])
def test_an_unknown_path_is_not_found(api: httpx.Client, method: str, path: str) -> None:
    answer = api.request(method, path)
    check_shape(answer, answer.status_code)
    assert answer.status_code in {404, 405}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/jobs"),
        ("GET", "/v1/audio/transcriptions"),
        ("OPTIONS", "/v1/audio/transcriptions"),
        ("POST", "/health"),
        ("PATCH", "/v1/jobs/1"),
        ("BREW", "/ready"),
    ],
)
def test_an_unsupported_method_is_refused(api: httpx.Client, method: str, path: str) -> None:
    answer = api.request(method, path)
    check_shape(answer, 405)
    assert answer.headers["allow"]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/jobs", {"GET", "HEAD", "POST"}),
        ("/v1/jobs/1", {"GET", "HEAD", "DELETE"}),
        ("/v1/jobs/1/events", {"GET", "HEAD"}),
        ("/v1/models/a/b", {"GET", "HEAD"}),
        ("/v1/audio/transcriptions", {"POST"}),
        ("/docs", {"GET", "HEAD"}),
        ("/static-offline-docs/swagger-ui.css", {"GET", "HEAD"}),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "TRACE", "BREW"])
def test_all_supported_methods_are_listed(
    api: httpx.Client, method: str, path: str, methods: set[str]
) -> None:
    answer = api.request(method, path)
    check_shape(answer, 405)
    assert set(answer.headers["allow"].split(", ")) == methods


@pytest.mark.parametrize("path", ["/v1/jobs/", "/health/", "/v1/audio/transcriptions/", "/v1/jobs/1/events/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_extra_slash_is_not_redirected(api: httpx.Client, method: str, path: str) -> None:
    check_shape(api.request(method, path), 404)


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/v1/audio/transcriptions", 405)])
def test_head_is_answered_without_a_body(api: httpx.Client, path: str, status: int) -> None:
    answer = api.head(path)
    assert (answer.status_code, answer.content) == (status, b"")
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/realtime", "/v1/jobs/1/events", "/"])
def test_a_websocket_is_refused(api: httpx.Client, path: str) -> None:
    answer = api.get(path, headers=WEBSOCKET)
    check_shape(answer, answer.status_code)
    assert answer.status_code in {404, 405}
    assert api.get("/health").status_code == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"--x-y", b"--x-y\r\n\r\n", b"--other\r\n", PART, PART + b"abc\r\n--x-y--\r\n", b"\x00" * 1000],
)
def test_a_body_that_is_not_a_form_is_refused(api: httpx.Client, worker: ScriptedWorker, body: bytes) -> None:
    for path in ("/v1/jobs", "/v1/audio/transcriptions", "/v1/audio/transcriptions/stream"):
        check_shape(api.post(path, content=body, headers=BOUNDARY), 400)


def test_a_large_body_is_refused_while_the_client_sends(api: httpx.Client, worker: ScriptedWorker) -> None:
    announced = 40 * MAX_UPLOAD_BYTES
    with connect(api) as client:
        head = f"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: {announced}\r\n"
        client.sendall(head.encode() + b"Content-Type: multipart/form-data; boundary=x-y\r\n\r\n")
        client.sendall(bytes(announced))  # all of it, before the answer is looked at
        headers, _, body = read_all(client).partition(b"\r\n\r\n")
    assert headers.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in headers.lower()
    assert json.loads(body)["error"]["code"] == "upload_too_large"


def test_a_sending_client_can_read_the_refusal(api: httpx.Client, worker: ScriptedWorker) -> None:
    with connect(api) as client:
        client.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 99000000\r\n")
        client.sendall(b"Content-Type: multipart/form-data; boundary=x-y\r\n\r\n")
        client.sendall(bytes(100_000))
        answer = b""
        while b"}}" not in answer:
            answer += client.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", ["/nothing", "/health", "/v1/audio/transcriptions"])
def test_no_refusal_of_a_large_body_is_lost(api: httpx.Client, path: str) -> None:
    """There is no worker: transcriptions are refused with 503, before their body is looked at."""
    for content in (bytes(20_000_000), (bytes(1 << 20) for _ in range(20))):
        answer = api.post(path, content=content, headers=BOUNDARY)
        check_shape(answer, {"/nothing": 404, "/health": 405}.get(path, 503))
        assert answer.headers["connection"] == "close"
    assert api.get("/health").status_code == 200


def test_a_refusal_of_a_small_body_keeps_the_connection(api: httpx.Client) -> None:
    answer = api.post("/nothing", content=bytes(1000))
    check_shape(answer, 404)
    assert "connection" not in answer.headers


def test_an_unexpected_error_is_hidden_from_clients_and_logged_once(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(job_id: str, *, owner: str | None) -> None:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr("api.routes.dependencies.find_job", fail)
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as logs:
        answer = api.get("/v1/jobs/1", headers={"x-request-id": "mine-1"})
    error = check_shape(answer, 500)
    assert error["code"] == "internal_error"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    failures = [line for line in logs if line["log_level"] == "error"]
    assert [(line["event"], line["request_id"]) for line in failures] == [("request_failed", "mine-1")]


def test_the_log_line_of_a_refused_request_names_its_cause(api: httpx.Client) -> None:
    with capture_log_lines() as logs:
        api.get("/v1/jobs/1")
        api.get("/v1/jobs", params={"limit": "many"})
        wait_for(lambda: len(list_served(logs)) == 2, what="the second line")
    assert [(line.get("code"), line.get("param")) for line in list_served(logs)] == [
        ("job_not_found", None),
        (None, "limit"),
    ]


def list_served(logs: Iterable[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    return [line for line in logs if line["event"] == "request_served"]


@pytest.mark.parametrize("given", ["abc-1", "Root=1-5f/2:3@x+y", "a" * 64])
def test_the_clients_request_id_is_used(api: httpx.Client, given: str) -> None:
    assert api.get("/nothing", headers={"x-request-id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["a" * 65, "a b", "<b>", "", 'a"b', "a;b"])
def test_an_unsafe_request_id_is_replaced(api: httpx.Client, given: str) -> None:
    request_id = api.get("/nothing", headers={"x-request-id": given}).headers["x-request-id"]
    assert request_id != given
    assert len(request_id) == 32


def test_a_request_that_is_not_http_is_refused(api: httpx.Client) -> None:
    """Not in our shape: it never reaches the application."""
    with connect(api) as client:
        client.sendall(b"NONSENSE\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 400 ")


def connect(api: httpx.Client) -> socket.socket:
    return socket.create_connection((api.base_url.host, api.base_url.port or 0), timeout=60)


def read_all(client: socket.socket) -> bytes:
    """What the server sends until it closes the connection."""
    received = b""
    while piece := client.recv(65_536):
        received += piece
    return received
