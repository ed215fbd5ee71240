"""Every answer names the engine that made it, and no engine ever takes the place of another unseen."""

import signal
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import httpx
import pytest

from shared.engine_choice import choose_installed_engine
from tests.support.audio import make_tones, spoken_text, write_wav
from tests.support.server import RealServer, wait_for

AUDIO = write_wav(make_tones(12, seed=3))
WORDS = spoken_text(make_tones(12, seed=3)).split()
MakeServer = Callable[..., RealServer]


def submit(server: RealServer) -> str:
    answer = server.client.post("/v1/jobs", files={"file": AUDIO})
    assert answer.status_code == 202, answer.text
    return str(answer.headers["location"])


def wait_until_final(server: RealServer, url: str) -> dict[str, Any]:
    """The job as it ended."""

    def look() -> dict[str, Any] | None:
        job: dict[str, Any] = server.client.get(url).json()
        return job if job["timings"]["finished_at"] else None

    return wait_for(look, what="the end of the job")


def transcribe(server: RealServer, **form: str) -> httpx.Response:
    return server.client.post("/v1/audio/transcriptions", files={"file": AUDIO}, data=form)


@pytest.mark.skipif(find_spec("torch") is not None, reason="qwen3 could be run in this environment")
def test_where_qwen3_cannot_run_a_request_fails_and_says_what_to_do(make_server: MakeServer) -> None:
    server = make_server(ENGINE="qwen3").start()
    answer = transcribe(server)
    assert answer.status_code == 503, answer.text
    error = answer.json()["error"]
    assert error["code"] == "model_unavailable"
    assert "make run ENGINE=qwen3" in error["message"]
    job = server.client.get(f"/v1/jobs/{answer.headers['x-job-id']}").json()
    assert (job["state"], job["engine"], job["model"]) == ("failed", "qwen3", "Qwen/Qwen3-ASR-0.6B")
    assert job["transcript"] is None
    assert server.client.get("/health").json()["engine"] == "qwen3"


def test_a_worker_with_engine_auto_publishes_the_engine_that_it_chose(make_server: MakeServer) -> None:
    server = make_server(ENGINE="auto", WINDOW_TIMEOUT="60").start()
    assert server.client.get("/health").json()["engine"] == choose_installed_engine().engine
    assert "engine_chosen" in server.log_text()
    assert "setting_outdated" in server.log_text()


@pytest.mark.parametrize("response_format", ["json", "text"])
def test_an_answer_names_the_engine_of_its_worker(scripted_server: RealServer, response_format: str) -> None:
    answer = transcribe(scripted_server, response_format=response_format)
    assert (answer.headers["x-engine"], answer.headers["x-model"]) == ("scripted", "scripted")
    health = scripted_server.client.get("/health").json()
    assert (health["engine"], health["model_id"]) == ("scripted", "scripted")


@pytest.mark.full
def test_a_job_that_another_engine_ends_says_where_the_first_one_had_come_to(make_server: MakeServer) -> None:
    server = make_server(LEASE_S="2", WINDOW_S="2", SCRIPTED_SPEED="6").start()
    url = submit(server)
    wait_for(lambda: server.client.get(url).json()["progress"]["processed_s"] >= 4, what="some windows")
    server.end(server.worker, signal.SIGKILL)
    kept_s = server.client.get(url).json()["progress"]["processed_s"]
    server.worker = server.start_worker(ENGINE="whisper")
    job = wait_until_final(server, url)
    assert (job["state"], job["engine"]) == ("succeeded", "whisper"), job["error"]
    (warning,) = job["transcript"]["warnings"]
    assert (warning["code"], warning["start"], warning["end"]) == ("engine_changed", 0.0, kept_s)
    assert "scripted" in warning["message"]
    assert job["transcript"]["text"].split()[: int(kept_s)] == WORDS[: int(kept_s)]
    assert job["transcript"]["complete"] is True
