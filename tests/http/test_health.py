"""`/health` and `/ready` answer at once over real HTTP, whatever is missing."""

import time
from pathlib import Path

import httpx

from api.settings import ApiSettings
from shared.capabilities import ModelState, WorkerPresence
from shared.record.connection import connect
from shared.record.workers import announce_worker
from tests.support.api_server import serve_api
from tests.support.redis_fixture import RedisServer
from tests.support.scripted_worker import CAPABILITIES, ScriptedWorker


def test_with_a_worker_the_server_is_healthy_and_ready(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url):
        health, ready = api.get("/health"), api.get("/ready")
    assert health.json() == {
        "status": "ok",
        "model_loaded": True,
        "model_id": "tests/Scripted-0.6B",
        "cuda": False,
        "engine": "scripted",
        "workers": ["ready"],
        "rows_in_use": 0,
        "max_rows": 1,
        "queued_jobs": 0,
        "queued_audio_s": 0.0,
        "backlog_s": 0.0,
    }
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


def test_without_a_worker_it_is_degraded_and_not_ready(api: httpx.Client) -> None:
    health, ready = api.get("/health"), api.get("/ready")
    assert health.status_code == 200
    assert health.json()["status"] == "degraded"
    assert "worker" in health.json()["reason"]
    assert ready.status_code == 503
    assert ready.headers["retry-after"]


def test_the_api_starts_without_redis_and_serves_when_it_comes(
    mortal_redis: RedisServer, tmp_path: Path
) -> None:
    mortal_redis.kill()
    settings = ApiSettings(redis_url=mortal_redis.url, data_dir=tmp_path)
    with serve_api(settings) as base_url, httpx.Client(base_url=base_url, timeout=30) as client:
        assert client.get("/health").json()["status"] == "degraded"
        assert client.get("/ready").json()["error"]["code"] == "queue_unavailable"
        refused = client.post("/v1/jobs", files={"file": ("a.wav", b"RIFF")})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_unavailable")
        mortal_redis.start()
        with ScriptedWorker(mortal_redis.url):
            assert client.get("/ready").status_code == 200


def test_a_redis_that_hangs_does_not_make_health_hang(mortal_redis: RedisServer, tmp_path: Path) -> None:
    settings = ApiSettings(redis_url=mortal_redis.url, data_dir=tmp_path)
    with serve_api(settings) as base_url, httpx.Client(base_url=base_url, timeout=4) as client:
        mortal_redis.freeze()
        try:
            assert client.get("/health").json()["status"] == "degraded"
            assert client.get("/ready").status_code == 503
        finally:
            mortal_redis.thaw()


def test_a_worker_that_takes_no_jobs_does_not_make_the_server_ready(
    api: httpx.Client, redis_url: str
) -> None:
    resting = WorkerPresence("resting", CAPABILITIES, ModelState.DEAD, "", takes_jobs=False)
    connect(redis_url).run(announce_worker(resting))
    assert api.get("/ready").status_code == 503
    with ScriptedWorker(redis_url):
        health, ready = api.get("/health").json(), api.get("/ready")
    assert (health["status"], ready.status_code) == ("degraded", 200)
    assert health["reason"].startswith("1 of 2 workers take no jobs")


def test_an_idle_worker_without_a_model_is_well(api: httpx.Client, redis_url: str) -> None:
    connect(redis_url).run(announce_worker(WorkerPresence("w", CAPABILITIES, ModelState.ABSENT, "")))

    health = api.get("/health").json()

    assert (health["status"], health["workers"], health["model_loaded"]) == ("ok", ["idle"], False)


def test_a_minute_after_a_failed_load_the_server_is_ready_for_another_try(
    api: httpx.Client, redis_url: str
) -> None:
    runner, error = connect(redis_url), "there is no model"
    for seconds, status in ((1, 503), (61, 200)):
        failed_s = time.time() - seconds
        presence = WorkerPresence(
            "w", CAPABILITIES, ModelState.ABSENT, "", load_error=error, load_failed_s=failed_s
        )
        runner.run(announce_worker(presence))

        assert api.get("/ready").status_code == status
        assert api.get("/health").json()["reason"] == error
