"""A job ends with the right text, once, although one of the processes is killed."""

import json
import os
import signal
from collections.abc import Callable

import pytest

from tests.support.audio import make_tones, spoken_text, write_wav
from tests.support.server import RealServer, wait_for

SPOKEN_S = 24
SAMPLES = make_tones(SPOKEN_S, seed=1)
TEXT = spoken_text(SAMPLES)
MakeServer = Callable[..., RealServer]


@pytest.fixture
def server(make_server: MakeServer) -> RealServer:
    """Provide a server with short leases and small windows, so that faults occur in the middle of a job."""
    return make_server(LEASE_S="2", WINDOW_S="2", SCRIPTED_SPEED="8").start()


def submit(server: RealServer, **script: object) -> str:
    """Submit the audio as a job with a script for the engine, and return the job's id."""
    form = {"prompt": json.dumps(script)} if script else {}
    answer = server.client.post("/v1/jobs", files={"file": write_wav(SAMPLES)}, data=form)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def read(server: RealServer, job_id: str) -> dict[str, object]:
    answer = server.client.get(f"/v1/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    job: dict[str, object] = answer.json()
    return job


def wait_until_under_way(server: RealServer, job_id: str) -> None:
    """Wait until some windows are done and others are not."""
    wait_for(lambda: 4 <= processed_s(server, job_id) < SPOKEN_S, what="the middle of the job")


def processed_s(server: RealServer, job_id: str) -> float:
    progress = read(server, job_id)["progress"]
    assert isinstance(progress, dict)
    return float(progress["processed_s"])


def wait_until_final(server: RealServer, job_id: str) -> dict[str, object]:
    def look() -> dict[str, object] | None:
        job = read(server, job_id)
        return job if job["state"] in ("succeeded", "failed", "cancelled") else None

    return wait_for(look, what="the end of the job")


def text_of(job: dict[str, object]) -> str:
    assert job["state"] == "succeeded", job["error"]
    transcript = job["transcript"]
    assert isinstance(transcript, dict)
    return str(transcript["text"])


def final_events(server: RealServer, job_id: str) -> list[str]:
    log = server.client.get(f"/v1/jobs/{job_id}/events").text
    names = [line.removeprefix("event: ") for line in log.splitlines() if line.startswith("event: ")]
    return [name for name in names if name in ("succeeded", "failed", "cancelled")]


def test_a_killed_worker_costs_an_attempt_and_no_text(server: RealServer) -> None:
    job_id = submit(server)
    wait_until_under_way(server, job_id)
    model = server.model_process()
    server.end(server.worker, signal.SIGKILL)
    wait_for(lambda: model is None or not model.is_running(), within_s=2, what="the end of the model process")
    server.worker = server.start_worker()
    job = wait_until_final(server, job_id)
    assert text_of(job) == TEXT
    assert job["attempt"] == 2
    assert final_events(server, job_id) == ["succeeded"]


@pytest.mark.full
def test_the_job_of_a_stopped_worker_resumes_on_the_next_worker(server: RealServer) -> None:
    job_id = submit(server)
    wait_until_under_way(server, job_id)
    assert server.end(server.worker, signal.SIGTERM) == 0
    waiting = read(server, job_id)
    assert waiting["state"] == "queued"
    done_s = processed_s(server, job_id)
    assert done_s >= 4
    server.worker = server.start_worker()
    job = wait_until_final(server, job_id)
    assert text_of(job) == TEXT
    assert job["attempt"] == 1


def test_a_killed_model_process_costs_an_attempt_and_no_text(server: RealServer) -> None:
    job_id = submit(server)
    wait_until_under_way(server, job_id)
    model = server.model_process()
    assert model is not None
    model.kill()
    job = wait_until_final(server, job_id)
    assert text_of(job) == TEXT
    assert job["attempt"] == 2


@pytest.mark.full
def test_the_death_of_an_idle_model_process_is_detected_and_costs_no_attempt(server: RealServer) -> None:
    text_of(wait_until_final(server, submit(server)))
    model = server.model_process()
    assert model is not None
    wait_for(lambda: server.client.get("/health").json()["model_loaded"], what="the news of the loaded model")
    model.kill()
    wait_for(lambda: not server.client.get("/health").json()["model_loaded"], what="the news of its end")
    job = wait_until_final(server, submit(server))
    assert text_of(job) == TEXT
    assert job["attempt"] == 1


@pytest.mark.full
def test_a_job_that_kills_every_model_process_fails_and_the_next_one_is_served(server: RealServer) -> None:
    poison = submit(server, misbehaviour="die_in_decode")
    harmless = submit(server)
    job = wait_until_final(server, poison)
    assert job["state"] == "failed"
    assert job["error"]["code"] == "engine_crash"  # type: ignore[index]
    assert text_of(wait_until_final(server, harmless)) == TEXT


@pytest.mark.full
def test_an_engine_that_raises_fails_the_job_and_keeps_the_model(server: RealServer) -> None:
    job = wait_until_final(server, submit(server, misbehaviour="raise"))
    assert job["state"] == "failed"
    assert job["error"]["code"] == "engine_error"  # type: ignore[index]
    model = server.model_process()
    assert text_of(wait_until_final(server, submit(server))) == TEXT
    assert model is not None
    assert server.model_process() == model


@pytest.mark.full
def test_garbage_on_standard_output_does_no_harm(server: RealServer) -> None:
    assert text_of(wait_until_final(server, submit(server, misbehaviour="print_garbage"))) == TEXT


@pytest.mark.full
@pytest.mark.parametrize("behaviour", ["none", "hang", "ignore_stop"])
def test_a_cancel_stops_the_work_and_the_next_job_is_served(server: RealServer, behaviour: str) -> None:
    job_id = submit(server, misbehaviour=behaviour, window=2)
    wait_until_under_way(server, job_id)
    next_id = submit(server)
    assert server.client.delete(f"/v1/jobs/{job_id}").status_code == 202
    assert wait_until_final(server, job_id)["state"] == "cancelled"
    assert final_events(server, job_id) == ["cancelled"]
    assert text_of(wait_until_final(server, next_id)) == TEXT


def test_a_restarted_redis_loses_no_job(server: RealServer) -> None:
    running, queued = submit(server), submit(server)
    wait_until_under_way(server, running)
    server.redis.kill()
    server.redis.start()
    assert text_of(wait_until_final(server, running)) == TEXT
    assert text_of(wait_until_final(server, queued)) == TEXT


@pytest.mark.full
def test_a_killed_api_loses_no_job(server: RealServer) -> None:
    job_id = submit(server)
    server.end(server.api, signal.SIGKILL)
    server.api = server.start_api()
    server.wait_until_ready()
    assert text_of(wait_until_final(server, job_id)) == TEXT


@pytest.mark.full
def test_a_worker_that_slept_longer_than_its_lease_cannot_disturb_the_job(server: RealServer) -> None:
    job_id = submit(server)
    wait_until_under_way(server, job_id)
    os.kill(server.worker.pid, signal.SIGSTOP)
    wait_for(lambda: read(server, job_id)["state"] == "queued", what="the loss of the lease")
    second = server.start_worker()
    wait_for(lambda: read(server, job_id)["state"] != "queued", what="the second claim")
    os.kill(server.worker.pid, signal.SIGCONT)
    assert text_of(wait_until_final(server, job_id)) == TEXT
    assert final_events(server, job_id) == ["succeeded"]
    assert second.poll() is None
