"""`POST /v1/audio/transcriptions` over real HTTP: one job, one answer, and no trace of those who leave."""

import socket
import threading
from pathlib import Path

import httpx
import pytest

from shared.events import Loading
from shared.job_store import beat_claim
from shared.jobs import Directive, Failure, FailureCode, JobState, Priority
from shared.redis_connection import connect
from shared.transcripts import Segment, Word
from tests.fakes.audio import make_tones, write_wav
from tests.fakes.scripted_worker import Script, ScriptedWorker
from tests.fakes.server import wait_for

URL = "/v1/audio/transcriptions"
AUDIO = write_wav(make_tones(2))
SEGMENT = Segment(0.0, 1.0, "Hello there.", "en", (Word(0.0, 0.4, "Hello"), Word(0.5, 1.0, "there.")))
SCRIPT = Script(segments=[SEGMENT], partials=["Hello"])


def post(api: httpx.Client, **fields: str) -> httpx.Response:
    return api.post(URL, files={"file": ("a.wav", AUDIO)}, data=fields)


def test_the_answer_is_the_transcript_and_names_its_job(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT) as worker:
        answer = post(api, language="English", prompt="names")
    assert answer.status_code == 200
    assert answer.json() == {
        "text": "Hello there.",
        "language": "en",
        "duration": 2.0,
        "usage": {"type": "duration", "seconds": 2},
    }
    claim = worker.claims[0]
    assert answer.headers["x-job-id"] == claim.job_id
    assert claim.request.language_hint == "en"
    assert claim.request.context == "names"
    assert claim.priority is Priority.INTERACTIVE
    assert (claim.upload.filename, claim.upload.size_bytes) == ("a.wav", len(AUDIO))


def test_timestamps_are_given_when_asked_for(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        answer = post(api, return_timestamps="true")
    assert answer.json()["timestamps"][1] == {"word": "there.", "start": 0.5, "end": 1.0}


def test_text_is_plain_text_with_a_line_end(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        answer = post(api, response_format="text")
    assert answer.text == "Hello there.\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_warnings_are_passed_on(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, Script(segments=[SEGMENT], warnings=("cut",))):
        answer = post(api)
    assert answer.json()["warnings"] == ["cut"]


def test_audio_that_is_long_is_served_as_a_batch_job(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT) as worker:
        api.post(URL, files={"file": ("a.wav", write_wav(make_tones(6)))})
    assert worker.claims[0].priority is Priority.BATCH


@pytest.mark.parametrize(
    ("code", "status"),
    [(FailureCode.TIMEOUT, 504), (FailureCode.ENGINE_ERROR, 500), (FailureCode.AUDIO_UNDECODABLE, 400)],
)
def test_a_job_that_fails_is_an_error_that_names_the_job(
    api: httpx.Client, redis_url: str, code: FailureCode, status: int
) -> None:
    with ScriptedWorker(redis_url, Script(failure=Failure(code, "it went wrong"))) as worker:
        answer = post(api)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["message"] == "it went wrong"
    assert answer.headers["x-job-id"] == worker.claims[0].job_id


def test_a_job_that_somebody_cancels_is_a_conflict_that_is_not_repeated(
    api: httpx.Client, redis_url: str
) -> None:
    claimed, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        claimed.set()
        go_on.wait()

    def cancel() -> None:
        claimed.wait()
        assert api.delete(f"/v1/jobs/{worker.claims[0].job_id}").status_code == 202
        go_on.set()

    with ScriptedWorker(redis_url, SCRIPT, step=hold) as worker:
        canceller = threading.Thread(target=cancel)
        canceller.start()
        answer = post(api)
        canceller.join()
    assert answer.status_code == 409
    assert answer.headers["x-should-retry"] == "false"


def test_a_client_that_leaves_cancels_its_job(api: httpx.Client, redis_url: str) -> None:
    record = connect(redis_url)

    def wait_for_cancel() -> None:
        call = beat_claim(worker.claims[0], lease_s=30)
        wait_for(lambda: record.run(call) is Directive.CANCEL, what="the cancel")

    with ScriptedWorker(redis_url, SCRIPT, step=wait_for_cancel) as worker:
        request = api.build_request("POST", URL, files={"file": ("a.wav", AUDIO)})
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        with socket.create_connection((str(api.base_url.host), api.base_url.port or 80)) as client:
            client.sendall(f"POST {URL} HTTP/1.1\r\n{head}\r\n".encode() + request.read())
            claim = worker.wait_for_claim()
        wait_for(lambda: api.get(f"/v1/jobs/{claim.job_id}").json()["state"] == JobState.CANCELLED)


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"language": "Klingon"}, (400, "language")),
        ({"language": "Gibberish"}, (400, "language")),
        ({"response_format": "yaml"}, (400, "response_format")),
        ({"return_timestamps": "true", "language": "de"}, (400, "return_timestamps")),
        ({"model": "gpt-9"}, (404, "model")),
    ],
)
def test_a_request_that_cannot_be_served_is_refused_and_leaves_no_file(
    api: httpx.Client, redis_url: str, uploads: Path, fields: dict[str, str], refusal: tuple[int, str]
) -> None:
    with ScriptedWorker(redis_url):
        answer = post(api, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == refusal
    assert "x-job-id" not in answer.headers
    assert list(uploads.iterdir()) == []


def test_without_a_worker_nothing_is_taken_in(api: httpx.Client, uploads: Path) -> None:
    answer = post(api)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "no_worker"
    assert int(answer.headers["retry-after"]) >= 1
    assert list(uploads.iterdir()) == []


def test_events_on_the_way_do_not_disturb_the_answer(api: httpx.Client, redis_url: str) -> None:
    loading = [Loading("weights", float(second)) for second in range(30)]
    with ScriptedWorker(redis_url, Script(first=loading, partials=list("Hello"), segments=[SEGMENT])):
        assert post(api).json()["text"] == "Hello there."
