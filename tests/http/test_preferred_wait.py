"""`Prefer: wait=N` on `POST /v1/jobs` over real HTTP, and the job that every synchronous answer names."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from shared.jobs import Failure, FailureCode
from shared.transcripts import Segment
from tests.support.api_server import OpenClient, ServeWith
from tests.support.audio import make_tones, write_wav
from tests.support.redis_fixture import RedisServer
from tests.support.scripted_worker import HeldWorker, Script, ScriptedWorker
from tests.support.server import wait_for

FILES = {"file": ("a.wav", write_wav(make_tones(1)))}
SCRIPT = Script(segments=[Segment(0.0, 1.0, "Hello there.", "en")])


@pytest.fixture(scope="module")
def hasty_url(serve_with: ServeWith) -> str:
    """The base URL of an api that waits for one second at the most."""
    return serve_with(prefer_wait_max_s=1, sync_wait_s=0.2).url


@pytest.fixture
def hasty(hasty_url: str, open_client: OpenClient) -> httpx.Client:
    """A client of that api."""
    return open_client(hasty_url)


@pytest.fixture
def held_worker(redis_url: str) -> Iterator[HeldWorker]:
    """A worker that never goes on, but for cancels."""
    with HeldWorker(redis_url, SCRIPT) as worker:
        yield worker


def submit(api: httpx.Client, prefer: str, **headers: str) -> httpx.Response:
    return api.post("/v1/jobs", files=FILES, headers={"Prefer": prefer, **headers})


def test_a_job_that_is_done_in_time_is_answered_with_its_transcript(
    api: httpx.Client, redis_url: str
) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        answer = submit(api, "respond-async, wait=20")
    assert answer.status_code == 200
    assert answer.json()["transcript"]["text"] == "Hello there."
    assert answer.headers["preference-applied"] == "wait=20"
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    assert answer.json() == api.get(answer.headers["location"]).json()


def test_a_job_that_fails_in_time_is_answered_as_it_is(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, Script(failure=Failure(FailureCode.ENGINE_CRASH, "it died"))):
        answer = submit(api, "wait=20")
    assert (answer.status_code, answer.json()["state"]) == (200, "failed")
    assert answer.json()["error"]["code"] == "engine_crash"


@pytest.mark.usefixtures("held_worker")
def test_a_longer_job_is_accepted_after_the_longest_wait(hasty: httpx.Client) -> None:
    answer = submit(hasty, "wait=9999")
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=1")
    assert answer.json()["state"] in {"queued", "running"}


def test_a_submitted_job_is_answered_although_redis_stops_answering(
    hasty: httpx.Client, held_worker: HeldWorker, session_redis: RedisServer
) -> None:
    with ThreadPoolExecutor() as pool:
        answering = pool.submit(submit, hasty, "wait=1")
        held_worker.wait_for_claim()
        hasty.get("/health")  # when this is answered, the api has also read the reply to its submit
        session_redis.freeze()
        try:
            answer = answering.result()
        finally:
            session_redis.thaw()
    assert answer.status_code == 202
    assert hasty.get(answer.headers["location"]).json()["state"] == "running"


@pytest.mark.usefixtures("held_worker")
@pytest.mark.parametrize("prefer", ["", "respond-async", "wait", "wait=soon", "wait=-1", 'x="wait=3,wait=4"'])
def test_with_an_invalid_wait_the_answer_comes_at_once(api: httpx.Client, prefer: str) -> None:
    answer = submit(api, prefer)
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


@pytest.mark.usefixtures("held_worker")
def test_a_wait_of_zero_ends_at_once(api: httpx.Client) -> None:
    answer = submit(api, "wait=0")
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=0")


def test_a_disconnect_during_the_wait_does_not_cancel_the_job(
    api: httpx.Client, held_worker: HeldWorker
) -> None:
    with pytest.raises(httpx.ReadTimeout):
        api.post("/v1/jobs", files=FILES, headers={"Prefer": "wait=20"}, timeout=0.5)
    job_id = held_worker.wait_for_claim().job_id
    assert submit(api, "wait=1").status_code == 202
    assert api.get(f"/v1/jobs/{job_id}").json()["state"] == "running"


def test_a_replay_waits_for_the_first_job(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        first = submit(api, "wait=20", **{"Idempotency-Key": "k"})
        again = submit(api, "wait=20", **{"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()


def transcribe(api: httpx.Client, **fields: str) -> httpx.Response:
    return api.post("/v1/audio/transcriptions", files=FILES, data=fields)


@pytest.mark.parametrize("shape", ["json", "text", "srt", "vtt", "verbose_json"])
def test_the_synchronous_call_names_its_job(api: httpx.Client, redis_url: str, shape: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        answer = transcribe(api, response_format=shape)
    assert answer.status_code == 200
    assert api.get(f"/v1/jobs/{answer.headers['x-job-id']}").json()["state"] == "succeeded"


def test_it_does_so_in_a_stream_too(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        answer = transcribe(api, stream="true")
    assert api.get(f"/v1/jobs/{answer.headers['x-job-id']}").json()["state"] == "succeeded"


@pytest.mark.parametrize(
    ("code", "status"),
    [(FailureCode.TIMEOUT, 504), (FailureCode.ENGINE_ERROR, 500), (FailureCode.AUDIO_UNDECODABLE, 400)],
)
def test_it_does_so_when_the_job_fails(
    api: httpx.Client, redis_url: str, code: FailureCode, status: int
) -> None:
    with ScriptedWorker(redis_url, Script(failure=Failure(code, "no"))):
        answer = transcribe(api)
    assert answer.status_code == status
    job = api.get(f"/v1/jobs/{answer.headers['x-job-id']}").json()
    assert job["error"] == {"code": code.value, "message": "no"}


@pytest.mark.usefixtures("held_worker")
def test_it_does_so_when_the_wait_is_over_and_the_job_goes_on(hasty: httpx.Client) -> None:
    answer = transcribe(hasty)
    assert answer.status_code == 504
    assert hasty.get(f"/v1/jobs/{answer.headers['x-job-id']}").json()["state"] in {"queued", "running"}


def test_it_does_so_when_the_job_is_cancelled(api: httpx.Client, held_worker: HeldWorker) -> None:
    answers: list[httpx.Response] = []
    caller = threading.Thread(target=lambda: answers.append(transcribe(api)))
    submit_first = submit(api, "wait=0").headers["x-job-id"]
    assert held_worker.wait_for_claim().job_id == submit_first
    caller.start()
    (waiting,) = wait_for(lambda: api.get("/v1/jobs", params={"state": "queued"}).json()["data"])
    api.delete(f"/v1/jobs/{waiting['id']}")
    caller.join()
    assert (answers[0].status_code, answers[0].headers["x-job-id"]) == (409, waiting["id"])
