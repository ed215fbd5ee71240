"""HTTP manners: HEAD, hints at the right path, refused queries, and attempts to open a WebSocket."""

import socket
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.audio import make_tones, write_wav
from tests.support.recorded_jobs import record_job
from tests.support.scripted_worker import Script, ScriptedWorker


@pytest.mark.parametrize(
    "path", ["/health", "/ready", "/v1/models", "/v1/models/whisper-1", "/v1/jobs", "/docs", "/openapi.json"]
)
def test_head_is_answered_as_get_without_a_body(api: httpx.Client, redis_url: str, path: str) -> None:
    with ScriptedWorker(redis_url):
        head, got = api.head(path), api.get(path)

    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length"):
        assert head.headers.get(name) == got.headers.get(name)


def test_head_has_the_status_of_an_error(api: httpx.Client) -> None:
    assert api.head("/ready").status_code == 503
    assert api.head("/v1/jobs/none").status_code == 404
    refused = api.head("/v1/audio/transcriptions")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


def test_head_of_an_event_stream_ends(api: httpx.Client, redis_url: str) -> None:
    job = record_job(redis_url)

    answer = api.head(f"{job}/events")

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/audio/transcriptions", "/v1/audio/transcriptions"),
        ("/v1/v1/audio/transcriptions", "/v1/audio/transcriptions"),
        ("/v1/audio/transcriptions/", "/v1/audio/transcriptions"),
        ("//v1/audio/transcriptions", "/v1/audio/transcriptions"),
        ("/openai/v1/audio/transcriptions", "/v1/audio/transcriptions"),
        ("/v1/models/", "/v1/models"),
        ("/jobs/17", "/v1/jobs/17"),
        ("/v1/health", "/health"),
        ("/health/", "/health"),
    ],
)
def test_a_wrong_path_gets_a_hint(api: httpx.Client, path: str, meant: str) -> None:
    url = f"{str(api.base_url).rstrip('/')}{path}"
    answer = api.get(url) if path == "/v1/models/" else api.post(url)

    assert answer.status_code == 404
    assert f"Did you mean {meant}?" in answer.json()["error"]["message"]


def test_a_path_that_is_like_no_endpoint_gets_no_hint(api: httpx.Client) -> None:
    assert "Did you mean" not in api.post("/v1/audio/translations").json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/audio/transcriptions/stream", "/v1/jobs"])
@pytest.mark.parametrize("query", ["language=de", "response_format=text", "api-version=1"])
def test_a_query_is_refused(api: httpx.Client, redis_url: str, path: str, query: str) -> None:
    with ScriptedWorker(redis_url, Script()):
        answer = api.post(f"{path}?{query}", files={"file": write_wav(make_tones(1))})

    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, query.partition("=")[0])
    assert "as a field of the form" in error["message"]


def test_a_websocket_attempt_is_refused_without_advice_to_install_anything(
    api: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    address = urlsplit(str(api.base_url))
    request = (
        f"GET /v1/realtime HTTP/1.1\r\nHost: {address.netloc}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port or 80)) as client:
        client.sendall(request.encode())
        answer = client.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 404")
    assert "install" not in caplog.text
