"""A Redis that is busy or away for a while costs a wait: no part of the server, no attempt, no inference."""

import json
from collections.abc import Callable

import httpx
import pytest

from tests.support.audio import make_tones, spoken_text, write_wav
from tests.support.server import RealServer, wait_for

SPOKEN_S = 24
SAMPLES = make_tones(SPOKEN_S, seed=1)

SKIPPED = 4
"""Sweeps to be skipped before the test goes on: two of the api, and two of the worker."""


def submit(server: RealServer, **script: object) -> str:
    answer = server.client.post(
        "/v1/jobs", files={"file": write_wav(SAMPLES)}, data={"prompt": json.dumps(script)} if script else {}
    )
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    return str(answer.json()["id"])


def wait_for_job(server: RealServer, job_id: str, *states: str) -> dict[str, object]:
    def look() -> dict[str, object] | None:
        job: dict[str, object] = server.client.get(f"/v1/jobs/{job_id}").json()
        return job if job["state"] in states else None

    return wait_for(look, what=f"one of {states}")


def is_under_way(server: RealServer, job_id: str) -> bool:
    progress = server.client.get(f"/v1/jobs/{job_id}").json()["progress"]
    return bool(4 <= progress["processed_s"] < SPOKEN_S / 2)


def ask_until_noticed(server: RealServer) -> set[tuple[int, str]]:
    """All that `/ready` says until each part that lives on Redis has met the trouble."""
    answers: set[tuple[int, str]] = set()

    def look() -> bool:
        answer = server.client.get("/ready")
        answers.add((answer.status_code, answer.json().get("error", {}).get("code", "")))
        log = server.log_text()
        return "beat_missed" in log and log.count("sweep_skipped") >= SKIPPED

    wait_for(look, what="a call of each part in vain")
    return answers


@pytest.mark.full
def test_a_busy_redis_ends_nothing_for_good(make_server: Callable[..., RealServer]) -> None:
    server = make_server(WINDOW_S="2", SCRIPTED_SPEED="4")
    server.start()
    job_id = submit(server)
    wait_for(lambda: is_under_way(server, job_id), what="the middle of the job")
    with server.redis.busy():
        assert ask_until_noticed(server) == {(httpx.codes.SERVICE_UNAVAILABLE, "queue_unavailable")}
    server.wait_until_ready()
    job = wait_for_job(server, job_id, "succeeded", "failed")
    assert (job["state"], job["attempt"]) == ("succeeded", 1)
    assert job["transcript"]["text"] == spoken_text(SAMPLES)  # type: ignore[index]
    # A silent engine learns of a cancel by the heartbeat alone.
    held_id = submit(server, misbehaviour="hang", window=0)
    wait_for_job(server, held_id, "running")
    assert server.client.delete(f"/v1/jobs/{held_id}").status_code == httpx.codes.ACCEPTED
    wait_for_job(server, held_id, "cancelled")
    assert "Exception in thread" not in server.log_text()
    assert "transcription_broke" not in server.log_text()


@pytest.mark.full
def test_an_outage_that_is_longer_than_inference_may_take_is_none_of_it(
    make_server: Callable[..., RealServer],
) -> None:
    settings = {"REQUEST_TIMEOUT": "5", "JOB_TIMEOUT_FACTOR": "0.01"}
    server = make_server(WINDOW_S="2", SCRIPTED_SPEED="8", **settings).start()
    job_id = submit(server)
    wait_for(lambda: is_under_way(server, job_id), what="the middle of the job")
    server.redis.kill()
    # Tries are half a second apart, so they last for longer than REQUEST_TIMEOUT.
    wait_for(lambda: server.log_text().count("transition_retried") > 12, what="an outage of six seconds")
    server.redis.start()
    job = wait_for_job(server, job_id, "succeeded", "failed")
    assert (job["state"], job["attempt"]) == ("succeeded", 1)
