"""The first job loads the model, idle time unloads it, and the worker process stays small."""

from collections.abc import Callable

import psutil
import pytest

from tests.support.audio import make_tones, spoken_text, write_wav
from tests.support.endpoints import submit
from tests.support.server import RealServer, wait_for

SAMPLES = make_tones(3, seed=2)
TEXT = spoken_text(SAMPLES)
URL = "/v1/audio/transcriptions"
MakeServer = Callable[..., RealServer]

MAX_RSS_AT_REST_BYTES = 90e6


def transcribe(server: RealServer, **form: str) -> str:
    answer = server.client.post(URL, files={"file": write_wav(SAMPLES)}, data=form)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["text"])


def test_the_model_is_loaded_by_the_first_job_and_gone_when_idle(make_server: MakeServer) -> None:
    server = make_server(IDLE_TIMEOUT="1").start()
    assert server.model_process() is None
    assert transcribe(server) == TEXT
    model = server.model_process()
    assert model is not None
    for _ in range(3):
        server.client.get("/health")
    wait_for(lambda: not model.is_running(), within_s=10, what="the end of the idle model process")
    assert transcribe(server) == TEXT
    assert server.model_process() != model


def test_with_an_idle_timeout_of_0_the_model_stays(make_server: MakeServer) -> None:
    server = make_server(IDLE_TIMEOUT="0").start()
    transcribe(server)
    model = server.model_process()
    transcribe(server)
    assert model is not None
    assert server.model_process() == model


def test_health_shows_the_state_of_the_model(make_server: MakeServer) -> None:
    server = make_server().start()
    assert server.client.get("/health").json()["model_loaded"] is False
    transcribe(server)
    wait_for(lambda: server.client.get("/health").json()["model_loaded"], what="the news of the loaded model")


def test_a_worker_without_a_model_is_small_and_imports_no_engine(make_server: MakeServer) -> None:
    server = make_server(ENGINE="whisper").start()
    worker = psutil.Process(server.worker.pid)
    assert worker.memory_info().rss < MAX_RSS_AT_REST_BYTES
    mapped = {region.path for region in worker.memory_maps()}
    for library in ("torch", "ctranslate2", "onnxruntime", "libav", "sndfile", "numpy"):
        assert not any(library in path for path in mapped), f"the worker has loaded {library}"


def test_a_request_that_takes_too_long_is_answered_504_and_its_work_stops(make_server: MakeServer) -> None:
    server = make_server(REQUEST_TIMEOUT="1").start()
    answer = server.client.post(
        URL, files={"file": write_wav(SAMPLES)}, data={"prompt": '{"misbehaviour": "hang"}'}
    )
    assert answer.status_code == 504, answer.text
    assert answer.json()["error"]["code"] == "timeout"
    assert answer.headers["x-should-retry"] == "false"
    assert transcribe(server) == TEXT


def test_a_cancel_ends_a_model_process_that_never_finishes_loading(
    make_server: MakeServer,
) -> None:
    server = make_server(SCRIPTED_LOAD_S="600").start()
    location = submit(server, write_wav(SAMPLES))
    model = wait_for(server.model_process, what="the start of the model process")

    assert server.client.delete(location).status_code == 202

    wait_for(lambda: server.client.get(location).json()["state"] == "cancelled", what="the cancel")
    wait_for(lambda: not model.is_running(), what="the end of the model process")


@pytest.mark.parametrize(
    ("trouble", "status", "code", "reason"),
    [
        ("die_in_load", 500, "engine_crash", "died"),
        ("fail_load", 503, "model_unavailable", "fails to load"),
    ],
)
def test_a_model_that_cannot_be_loaded_fails_the_job_with_the_reason(
    make_server: MakeServer, trouble: str, status: int, code: str, reason: str
) -> None:
    server = make_server(SCRIPTED_MISBEHAVIOUR=trouble).start()
    answer = server.client.post(URL, files={"file": write_wav(SAMPLES)})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["code"] == code
    assert reason in answer.json()["error"]["message"]


def test_a_model_that_cannot_be_loaded_does_not_fail_all_queued_jobs(make_server: MakeServer) -> None:
    server = make_server(SCRIPTED_MISBEHAVIOUR="fail_load").start()
    first = submit(server, write_wav(SAMPLES))
    wait_for(
        lambda: server.client.get(first).json()["state"] == "failed", what="the failure of the first job"
    )
    queued = submit(server, write_wav(SAMPLES))

    assert server.client.post(URL, files={"file": write_wav(SAMPLES)}).status_code == 503
    assert server.client.get(queued).json()["state"] == "queued"


def test_a_server_that_cannot_load_its_model_is_neither_healthy_nor_ready(make_server: MakeServer) -> None:
    server = make_server(SCRIPTED_MISBEHAVIOUR="fail_load").start()
    assert server.client.get("/ready").status_code == 200
    server.client.post(URL, files={"file": write_wav(SAMPLES)})

    readiness = server.client.get("/ready")
    assert readiness.status_code == 503, readiness.text
    assert readiness.json()["error"]["code"] == "model_unavailable"
    health = server.client.get("/health").json()
    assert (health["status"], "fails to load" in health["reason"]) == ("degraded", True)
