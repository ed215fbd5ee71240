"""A full server refuses requests at once over real HTTP, with a Retry-After."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from api.settings import ApiSettings
from shared.capabilities import ModelState, WorkerPresence
from shared.record.connection import connect
from shared.record.workers import announce_worker
from tests.support.api_server import OpenClient, ServedApi, ServeWith, serve_api
from tests.support.audio import make_tones, write_wav
from tests.support.redis_fixture import RedisServer
from tests.support.scripted_worker import CAPABILITIES, HeldWorker
from tests.support.server import wait_for

AUDIO = write_wav(make_tones(2))
ENDPOINTS = ("/v1/audio/transcriptions", "/v1/audio/transcriptions/stream", "/v1/jobs")
LAB, FEW = "lab-key-0123456789", "few-key-0123456789"

BODY = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    + write_wav(make_tones(60))
    + b"\r\n--b--\r\n"
)
HEADERS = {"Idempotency-Key": "k", "Content-Type": "multipart/form-data; boundary=b"}

AT_ONCE_S = 2.0
"""The promise is one second; the rest is for a machine that does other things, too."""


@pytest.fixture(scope="module")
def small_api(serve_with: ServeWith) -> ServedApi:
    """An api where three jobs or seven seconds of audio may wait."""
    return serve_with(max_queued_jobs=3, max_queued_audio_s=7)


@pytest.fixture
def small(small_api: ServedApi, open_client: OpenClient) -> httpx.Client:
    return open_client(small_api.url)


def post(api: httpx.Client, url: str = "/v1/jobs", *, audio_s: float = 2, key: str = "") -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return api.post(url, files={"file": ("a.wav", write_wav(make_tones(audio_s)))}, headers=headers)


def occupy(api: httpx.Client) -> None:
    """Give the worker a job to hold, so that all others wait."""
    assert post(api, key="held").status_code == 202
    wait_for(lambda: api.get("/health").json()["queued_jobs"] == 0)


def check_refusal(answer: httpx.Response, limit: str) -> None:
    assert answer.status_code == 429
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("rate_limit_error", None, "rate_limit_exceeded")
    assert limit in error["message"]
    assert 1 <= int(answer.headers["retry-after"]) <= 60


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_queue_full_of_jobs_refuses_more(
    small: httpx.Client, held_worker: HeldWorker, endpoint: str
) -> None:
    occupy(small)
    jobs = [post(small, audio_s=1) for _ in range(3)]
    check_refusal(post(small, endpoint, audio_s=1), "MAX_QUEUED_JOBS")
    small.delete(jobs[0].headers["location"])
    assert post(small, audio_s=1).status_code == 202


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_queue_full_of_audio_refuses_more(
    small: httpx.Client, held_worker: HeldWorker, endpoint: str
) -> None:
    occupy(small)
    assert post(small, audio_s=5).status_code == 202
    check_refusal(post(small, endpoint, audio_s=2.5), "MAX_QUEUED_AUDIO_S")
    assert post(small, audio_s=2).status_code == 202
    check_refusal(post(small, endpoint, audio_s=0.2), "MAX_QUEUED_AUDIO_S")


def test_a_queue_with_room_again_accepts_more(small: httpx.Client, held_worker: HeldWorker) -> None:
    occupy(small)
    assert post(small, audio_s=7).status_code == 202
    assert post(small).status_code == 429
    held_worker.go_on.set()
    wait_for(lambda: small.get("/health").json()["queued_jobs"] == 0)
    assert post(small).status_code == 202


def test_a_full_server_refuses_before_the_file_is_sent(small: httpx.Client, held_worker: HeldWorker) -> None:
    occupy(small)
    post(small, audio_s=7)
    with socket.create_connection(("127.0.0.1", small.base_url.port or 0), timeout=20) as client:
        client.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 429 ")


def test_a_refused_upload_leaves_nothing(
    small: httpx.Client, small_api: ServedApi, held_worker: HeldWorker
) -> None:
    occupy(small)
    post(small, audio_s=5)
    before = set(small_api.uploads.iterdir())
    assert post(small, audio_s=3).status_code == 429
    assert set(small_api.uploads.iterdir()) == before


def test_a_full_server_answers_known_requests(small: httpx.Client, held_worker: HeldWorker) -> None:
    occupy(small)
    post(small, audio_s=7)
    again = post(small, key="held")
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")


def test_simultaneous_requests_do_not_exceed_the_limit(small: httpx.Client, held_worker: HeldWorker) -> None:
    occupy(small)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: post(small, audio_s=1), range(12)))
    assert [answer.status_code for answer in answers].count(202) == 3
    assert {answer.status_code for answer in answers} == {202, 429}
    assert small.get("/health").json()["queued_jobs"] == 3


def test_health_and_readiness_report_a_full_queue(small: httpx.Client, held_worker: HeldWorker) -> None:
    occupy(small)
    assert small.get("/ready").status_code == 200
    post(small, audio_s=7)
    health, ready = small.get("/health").json(), small.get("/ready")
    assert (health["queued_jobs"], health["queued_audio_s"], health["backlog_s"]) == (1, 7.0, 9.0)
    assert health["status"] == "degraded"
    assert "MAX_QUEUED_AUDIO_S" in health["reason"]
    assert (ready.status_code, ready.json()["error"]["code"]) == (503, "queue_full")
    assert 1 <= int(ready.headers["retry-after"]) <= 60


def test_the_limits_of_a_key_are_its_own(
    serve_with: ServeWith, open_client: OpenClient, held_worker: HeldWorker
) -> None:
    keys = f"lab={LAB} max_queued_audio_s=3, few={FEW} max_unfinished_jobs=1"
    api = open_client(serve_with(api_keys=keys).url)
    api.headers["Authorization"] = f"Bearer {LAB}"
    occupy(api)
    assert post(api, audio_s=2).status_code == 202
    check_refusal(post(api, audio_s=2), "limit of 3 s of audio")
    assert post(api, audio_s=1).status_code == 202
    check_refusal(post(api, audio_s=1), "limit of 3 s of audio")
    api.headers["Authorization"] = f"Bearer {FEW}"
    assert post(api, audio_s=2).status_code == 202
    check_refusal(post(api, audio_s=1), "1 unfinished jobs")
    assert api.get("/ready").status_code == 200


def test_a_flood_of_one_key_does_not_close_the_endpoint_to_another(
    serve_with: ServeWith, open_client: OpenClient, held_worker: HeldWorker
) -> None:
    api = open_client(serve_with(api_keys=f"lab={LAB}, few={FEW}", max_queued_jobs=20).url)
    api.headers["Authorization"] = f"Bearer {LAB}"
    occupy(api)
    flood = [post(api, audio_s=0.2).status_code for _ in range(19)]
    assert flood == [202] * 18 + [429]
    check_refusal(post(api, audio_s=0.2), "MAX_QUEUED_JOBS")
    assert api.get("/ready").status_code == 200
    api.headers["Authorization"] = f"Bearer {FEW}"
    assert post(api, audio_s=2).status_code == 202
    check_refusal(post(api, audio_s=2), "MAX_QUEUED_JOBS")


def check_unavailable(api: httpx.Client, code: str) -> None:
    """Each endpoint, with a body of some size or of none yet, is closed at once."""
    for url in ENDPOINTS:
        began = time.monotonic()
        answer = post(api, url)
        took_s = time.monotonic() - began
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, code)
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert took_s < AT_ONCE_S
    began = time.monotonic()
    assert api.get("/ready").status_code == 503
    assert api.get("/health").json()["status"] == "degraded"
    assert time.monotonic() - began < 2 * AT_ONCE_S


def test_without_a_worker_the_endpoints_are_closed_at_once(api: httpx.Client) -> None:
    check_unavailable(api, "no_worker")
    health = api.get("/health").json()
    assert (health["queued_jobs"], health["backlog_s"]) == (0, None)


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_without_redis_the_endpoints_are_closed_at_once(
    session_api: str, mortal_redis: RedisServer, tmp_path: Path, fault: str
) -> None:
    settings = ApiSettings(redis_url=mortal_redis.url, data_dir=tmp_path)
    worker = announce_worker(WorkerPresence("w", CAPABILITIES, ModelState.READY, "cpu"))
    connect(mortal_redis.url).run(worker)
    with serve_api(settings) as url, httpx.Client(base_url=url, timeout=30) as api:
        assert post(api).status_code == 202
        mortal_redis.freeze()
        if fault == "killed":
            mortal_redis.kill()
        try:
            check_unavailable(api, "queue_unavailable")
        finally:
            if fault == "killed":
                mortal_redis.start()
            mortal_redis.thaw()
        connect(mortal_redis.url).run(worker)
        wait_for(lambda: api.get("/ready").status_code == 200)


@pytest.mark.full
def test_a_job_submitted_during_an_outage_keeps_its_file(
    session_api: str, mortal_redis: RedisServer, tmp_path: Path
) -> None:
    settings = ApiSettings(redis_url=mortal_redis.url, data_dir=tmp_path)
    connect(mortal_redis.url).run(announce_worker(WorkerPresence("w", CAPABILITIES, ModelState.READY, "cpu")))

    def send_in_two_parts() -> Iterator[bytes]:
        yield BODY[:-100]
        wait_for(lambda: list(settings.uploads_dir.glob("*.part")))
        mortal_redis.freeze()
        yield BODY[-100:]

    with serve_api(settings) as url, httpx.Client(base_url=url, timeout=60) as api:
        first = post(api)  # so that the server knows the script already
        answer = api.post("/v1/jobs", content=send_in_two_parts(), headers=HEADERS)
        mortal_redis.thaw()
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "queue_unavailable")
        wait_for(lambda: api.get("/health").json()["queued_jobs"] == 2, within_s=20)
        again = api.post("/v1/jobs", content=BODY, headers=HEADERS)
        assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    kept = {path.stem for path in settings.uploads_dir.iterdir()}
    assert kept == {accepted.headers["x-job-id"] for accepted in (first, again)}
