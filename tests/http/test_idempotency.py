"""`Idempotency-Key` over real HTTP: a repeated request is answered from the first job."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import redis
from httpx_sse import connect_sse

from shared.jobs import Failure, FailureCode
from shared.record.keys import KEY_PREFIX
from shared.transcripts import Segment
from tests.support.api_server import OpenClient, ServeWith
from tests.support.audio import make_tones, write_wav
from tests.support.scripted_worker import HeldWorker, Script, ScriptedWorker
from tests.support.server import wait_for

SYNC, STREAM, JOBS = "/v1/audio/transcriptions", "/v1/audio/transcriptions/stream", "/v1/jobs"
AUDIO, OTHER_AUDIO = (write_wav(make_tones(seconds)) for seconds in (2, 1))
SCRIPT = Script(segments=[Segment(0.0, 1.0, "Hello there.", "en")], partials=["Hello"])
LAB, SHOP = "lab-key-0123456789", "shop-key-0123456789"


@pytest.fixture
def worker(redis_url: str) -> Iterator[ScriptedWorker]:
    with ScriptedWorker(redis_url, SCRIPT) as scripted:
        yield scripted


@pytest.fixture
def held_worker(redis_url: str) -> Iterator[HeldWorker]:
    """A worker that stops in the middle of each job until it is told to go on."""
    with HeldWorker(redis_url, SCRIPT) as scripted:
        yield scripted


def post(
    api: httpx.Client, url: str = JOBS, key: str = "k", audio: bytes = AUDIO, **fields: str
) -> httpx.Response:
    headers = {"Idempotency-Key": key}
    return api.post(url, files={"file": ("a.wav", audio)}, data=fields, headers=headers)


def is_replay(answer: httpx.Response) -> bool:
    assert answer.headers.get("idempotent-replayed") in {None, "true"}
    return "idempotent-replayed" in answer.headers


def job_of(answer: httpx.Response) -> str:
    return str(answer.headers["x-job-id"])


@pytest.mark.parametrize("url", [SYNC, STREAM, JOBS])
@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "ümlaut"])
def test_an_invalid_key_is_refused(api: httpx.Client, url: str, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode("latin-1")}
    answer = api.post(url, files={"file": ("a.wav", AUDIO)}, headers=headers)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", "Idempotency-Key")


@pytest.mark.parametrize("key", ["x" * 255, "with space ~!", "0b0f2a1e-6f5e-4b9f-9d3a-0c1d2e3f4a5b"])
def test_any_printable_ascii_is_a_key(api: httpx.Client, worker: ScriptedWorker, key: str) -> None:
    first, second = post(api, key=key), post(api, key=key)
    assert job_of(first) == job_of(second)
    assert (is_replay(first), is_replay(second)) == (False, True)


def test_without_a_key_each_request_is_a_job(api: httpx.Client, worker: ScriptedWorker) -> None:
    answers = [api.post(JOBS, files={"file": ("a.wav", AUDIO)}) for _ in range(2)]
    assert job_of(answers[0]) != job_of(answers[1])
    assert not any(map(is_replay, answers))


def test_a_submitted_job_is_answered_again_as_it_stands(
    api: httpx.Client, held_worker: HeldWorker, uploads: Path
) -> None:
    first = post(api)
    held_worker.wait_for_claim()
    while_running = post(api)
    assert while_running.json()["state"] == "running"
    held_worker.go_on.set()
    url = first.headers["location"]
    wait_for(lambda: api.get(url).json()["state"] == "succeeded")
    when_final = post(api)
    for answer in (while_running, when_final):
        assert answer.status_code == 202
        assert is_replay(answer)
        assert answer.headers["location"] == url
    assert when_final.json()["transcript"]["text"] == "Hello there."
    assert {path.stem for path in uploads.iterdir()} == {job_of(first)}
    assert len(held_worker.claims) == 1


def test_the_synchronous_endpoint_waits_for_the_same_transcript(
    api: httpx.Client, held_worker: HeldWorker
) -> None:
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, api, SYNC)
        held_worker.wait_for_claim()
        second = pool.submit(post, api, SYNC)
        time.sleep(0.2)
        held_worker.go_on.set()
        answers = [first.result(), second.result()]
    third = post(api, SYNC)
    assert [is_replay(answer) for answer in (*answers, third)] == [False, True, True]
    assert {answer.text for answer in (*answers, third)} == {third.text}
    assert third.json()["text"] == "Hello there."
    assert len(held_worker.claims) == 1


def test_the_stream_is_followed_from_its_start(api: httpx.Client, worker: ScriptedWorker) -> None:
    first, second = post(api, STREAM), post(api, STREAM)
    assert (is_replay(first), is_replay(second)) == (False, True)
    texts = [answer.text.replace(": heartbeat\n\n", "") for answer in (first, second)]
    assert "event: queued" in texts[1]
    assert '"text":"Hello there."' in texts[1]
    assert texts[1].rstrip().endswith('data: {"done":true}')
    assert len(worker.claims) == 1


def test_deltas_are_sent_again(api: httpx.Client, worker: ScriptedWorker) -> None:
    first, second = (post(api, SYNC, stream="true") for _ in range(2))
    assert (is_replay(first), is_replay(second)) == (False, True)
    assert '"transcript.text.done","text":"Hello there."' in second.text
    assert second.text.rstrip().endswith("data: [DONE]")
    assert len(worker.claims) == 1


@pytest.mark.parametrize(
    ("url", "audio", "language"),
    [(JOBS, OTHER_AUDIO, ""), (JOBS, AUDIO, "de"), (SYNC, AUDIO, ""), (STREAM, AUDIO, "")],
)
@pytest.mark.usefixtures("held_worker")
def test_another_request_with_the_same_key_is_refused(
    api: httpx.Client, uploads: Path, url: str, audio: bytes, language: str
) -> None:
    first = post(api)
    answer = post(api, url, audio=audio, language=language)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "idempotency_key_reused")
    assert not is_replay(answer)
    assert {path.stem for path in uploads.iterdir()} == {job_of(first)}


def test_another_spelling_of_a_request_is_the_same_request(api: httpx.Client, worker: ScriptedWorker) -> None:
    first = post(api, language="en", prompt="")
    assert job_of(post(api, language=" en ", nonsense="1")) == job_of(first)


@pytest.mark.parametrize("url", [SYNC, JOBS])
def test_a_failure_is_answered_again(api: httpx.Client, redis_url: str, url: str) -> None:
    script = Script(failure=Failure(FailureCode.ENGINE_ERROR, "it failed"))
    with ScriptedWorker(redis_url, script) as worker:
        first = post(api, url)
        location = f"{JOBS}/{job_of(first)}"
        wait_for(lambda: api.get(location).json()["state"] == "failed")
        second = post(api, url)
    assert second.status_code == first.status_code == (500 if url == SYNC else 202)
    assert is_replay(second)
    assert job_of(second) == job_of(first)
    assert len(worker.claims) == 1


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (FailureCode.TIMEOUT, 504),
        (FailureCode.MODEL_UNAVAILABLE, 503),
        (FailureCode.UPLOAD_MISSING, 500),
    ],
)
def test_after_a_passing_failure_the_work_is_done_again(
    api: httpx.Client, redis_url: str, code: FailureCode, status: int
) -> None:
    with ScriptedWorker(redis_url, Script(failure=Failure(code, "it failed"))):
        assert post(api, SYNC).status_code == status
    with ScriptedWorker(redis_url, SCRIPT):
        again = post(api, SYNC)
    assert again.status_code == 200
    assert not is_replay(again)


def test_after_a_delete_the_key_is_free(api: httpx.Client, held_worker: HeldWorker) -> None:
    first = post(api)
    api.delete(first.headers["location"])
    second = post(api, audio=OTHER_AUDIO)
    assert second.status_code == 202
    assert job_of(second) != job_of(first)
    assert not is_replay(second)


def leave(api: httpx.Client, url: str, **fields: str) -> None:
    """Send the request of `post`, and close the connection."""
    headers = {"Idempotency-Key": "k"}
    request = api.build_request("POST", url, files={"file": ("a.wav", AUDIO)}, data=fields, headers=headers)
    lines = [f"POST {url} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items()), "", ""]
    with socket.create_connection((api.base_url.host, api.base_url.port or 0), timeout=20) as client:
        client.sendall("\r\n".join(lines).encode() + request.read())
        wait_for(lambda: api.get("/health").json()["queued_jobs"] == 1)


@pytest.mark.parametrize(("url", "stream"), [(SYNC, ""), (SYNC, "true"), (STREAM, "")])
def test_a_client_that_disconnects_finds_the_transcript_later(
    api: httpx.Client, redis_url: str, url: str, stream: str
) -> None:
    with HeldWorker(redis_url, Script(segments=SCRIPT.segments)) as worker:
        post(api, key="the job ahead")
        worker.wait_for_claim()
        leave(api, url, stream=stream)
        with redis.Redis.from_url(redis_url) as record:
            assert record.exists(f"{KEY_PREFIX}listener_leases") == 0
        worker.go_on.set()
        answer = post(api, url, stream=stream)
    assert is_replay(answer)
    assert answer.status_code == 200
    assert "Hello there." in answer.text
    assert len(worker.claims) == 2


def test_simultaneous_requests_with_one_key_are_one_job(
    api: httpx.Client, held_worker: HeldWorker, uploads: Path
) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(api), range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({job_of(answer) for answer in answers}) == 1
    assert sum(map(is_replay, answers)) == 19
    assert {path.stem for path in uploads.iterdir()} == {job_of(answers[0])}


def test_a_finished_job_is_answered_without_a_worker(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        first = post(api, SYNC)
    second, unknown = post(api, SYNC), post(api, SYNC, key="another")
    assert second.text == first.text
    assert is_replay(second)
    assert unknown.status_code == 503


def test_a_key_is_forgotten_after_its_time(
    serve_with: ServeWith, open_client: OpenClient, worker: ScriptedWorker
) -> None:
    api = open_client(serve_with(idempotency_ttl_s=0.5).url)
    first = post(api)
    time.sleep(0.6)
    assert job_of(post(api)) != job_of(first)


def test_api_keys_have_separate_idempotency_keys(
    serve_with: ServeWith, open_client: OpenClient, worker: ScriptedWorker
) -> None:
    api = open_client(serve_with(api_keys=f"lab={LAB}, shop={SHOP}").url)
    api.headers["Authorization"] = f"Bearer {LAB}"
    of_lab = post(api)
    api.headers["Authorization"] = f"Bearer {SHOP}"
    of_shop = post(api, audio=OTHER_AUDIO)
    again = post(api, audio=OTHER_AUDIO)
    assert of_shop.status_code == 202
    assert job_of(of_lab) != job_of(of_shop) == job_of(again)
    assert not is_replay(of_shop)


def test_a_stream_names_the_job_it_follows(api: httpx.Client, worker: ScriptedWorker) -> None:
    first = post(api, STREAM)
    with connect_sse(
        api, "POST", STREAM, files={"file": ("a.wav", AUDIO)}, headers={"Idempotency-Key": "k"}
    ) as source:
        event = next(source.iter_sse())
    assert (event.event, event.json()) == ("job", {"id": job_of(first)})
