"""`POST /v1/audio/transcriptions` over real HTTP: one job, one answer, and no trace after a disconnect."""

import socket
import threading
from pathlib import Path

import httpx
import msgspec
import pytest

from shared.events import Loading
from shared.jobs import Directive, Failure, FailureCode, JobState, Priority
from shared.record.connection import connect
from shared.transcripts import Segment, SegmentDecoding, TranscriptWarning, WarningCode, Word
from tests.support.audio import make_tones, write_wav
from tests.support.recorded_jobs import read_listener_lease
from tests.support.scripted_worker import CAPABILITIES, Script, ScriptedWorker
from tests.support.server import wait_for
from tests.support.single_claims import beat_claim

URL = "/v1/audio/transcriptions"
AUDIO = write_wav(make_tones(2))
SEGMENT = Segment(0.0, 1.0, "Hello there.", "en", (Word(0.0, 0.4, "Hello"), Word(0.5, 1.0, "there.")))
SCRIPT = Script(segments=[SEGMENT], partials=["Hello"])
CUT_OFF = TranscriptWarning(WarningCode.TRUNCATED, "The text may be incomplete.", 0.5, 1.23456)
CUT_SCRIPT = Script(segments=[SEGMENT], warnings=(CUT_OFF,), is_complete=False)


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
        "complete": True,
        "engine": "scripted",
        "model": "tests/Scripted-0.6B",
    }
    claim = worker.claims[0]
    assert answer.headers["x-job-id"] == claim.job_id
    assert claim.request.language_hint == "en"
    assert claim.request.context == "names"
    assert claim.priority is Priority.INTERACTIVE
    assert (claim.upload.filename, claim.upload.size_bytes) == ("a.wav", len(AUDIO))


def test_requested_timestamps_are_returned(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        answer = post(api, return_timestamps="true")
    assert answer.json()["timestamps"][1] == {"word": "there.", "start": 0.5, "end": 1.0}


def test_text_is_plain_text_with_a_line_end(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        answer = post(api, response_format="text")
    assert answer.text == "Hello there.\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_verbose_json_has_segments_and_on_request_words(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        plain = post(api, response_format="verbose_json")
        fields = {"response_format": "verbose_json", "timestamp_granularities[]": "word", "language": "en"}
        with_words = post(api, **fields).json()
        with_both = post(api, response_format="verbose_json", return_timestamps="true").json()
    body = plain.json()
    assert plain.headers["content-type"] == "application/json"
    assert (body["task"], body["language"], body["duration"]) == ("transcribe", "english", 2.0)
    assert [segment["text"] for segment in body["segments"]] == [" Hello there."]
    assert "words" not in body
    assert with_words["words"][1] == {"word": "there", "start": 0.5, "end": 1.0}
    assert "segments" not in with_words
    assert {"segments", "words"} <= with_both.keys()


def test_how_a_segment_was_decoded_is_kept_with_the_job(api: httpx.Client, redis_url: str) -> None:
    decoding = SegmentDecoding((7, 8), 0.2, -0.31, 0.05, window_start_s=1.5)
    script = Script(segments=[msgspec.structs.replace(SEGMENT, decoding=decoding)])
    with ScriptedWorker(redis_url, script):
        (segment,) = post(api, response_format="verbose_json").json()["segments"]
    assert segment == {
        "id": 0,
        "seek": 150,
        "start": 0.0,
        "end": 1.0,
        "text": " Hello there.",
        "tokens": [7, 8],
        "temperature": 0.2,
        "avg_logprob": -0.31,
        "compression_ratio": 0.6,
        "no_speech_prob": 0.05,
    }


@pytest.mark.parametrize(
    ("response_format", "body"),
    [
        ("srt", "1\n00:00:00,000 --> 00:00:01,000\nHello there.\n\n\n"),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nHello there.\n\n"),
    ],
)
def test_subtitles_are_plain_text(api: httpx.Client, redis_url: str, response_format: str, body: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        answer = post(api, response_format=response_format)
    assert answer.text == body
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_missing_text_has_a_warning_with_its_time(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, CUT_SCRIPT):
        answer = post(api).json()
    assert answer["complete"] is False
    assert answer["warnings"] == [
        {"code": "truncated", "message": "The text may be incomplete.", "start": 0.5, "end": 1.235}
    ]


@pytest.mark.parametrize("response_format", ["json", "text", "srt", "vtt", "verbose_json"])
def test_headers_report_problems_only_if_there_are_any(
    api: httpx.Client, redis_url: str, response_format: str
) -> None:
    with ScriptedWorker(redis_url, CUT_SCRIPT):
        cut = post(api, response_format=response_format)
    assert cut.headers["x-transcript-complete"] == "false"
    assert cut.headers["x-transcript-warnings"] == "1"
    with ScriptedWorker(redis_url, SCRIPT):
        whole = post(api, response_format=response_format)
    assert not [name for name in whole.headers if name.startswith("x-transcript")]


@pytest.mark.parametrize("response_format", ["json", "text", "srt", "vtt", "verbose_json"])
def test_headers_name_engine_and_any_model(api: httpx.Client, redis_url: str, response_format: str) -> None:
    capabilities = msgspec.structs.replace(CAPABILITIES, model="./größe 100%\n")
    with ScriptedWorker(redis_url, SCRIPT, capabilities):
        answer = post(api, response_format=response_format)
    assert answer.headers["x-engine"] == "scripted"
    assert answer.headers["x-model"] == "./gr%C3%B6%C3%9Fe 100%25%0A"


def test_long_audio_is_a_batch_job(api: httpx.Client, redis_url: str) -> None:
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


def test_a_cancelled_job_is_a_conflict_without_a_retry(api: httpx.Client, redis_url: str) -> None:
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


def test_a_client_that_disconnects_cancels_its_job(api: httpx.Client, redis_url: str) -> None:
    record = connect(redis_url)
    leases: list[float | None] = []

    def wait_for_cancel() -> None:
        call = beat_claim(worker.claims[0], lease_s=30)
        wait_for(lambda: record.run(call) is Directive.CANCEL, what="the cancel")
        leases.append(read_listener_lease(redis_url, worker.claims[0].job_id))

    with ScriptedWorker(redis_url, SCRIPT, step=wait_for_cancel) as worker:
        request = api.build_request("POST", URL, files={"file": ("a.wav", AUDIO)})
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        with socket.create_connection((str(api.base_url.host), api.base_url.port or 80)) as client:
            client.sendall(f"POST {URL} HTTP/1.1\r\n{head}\r\n".encode() + request.read())
            claim = worker.wait_for_claim()
        wait_for(lambda: api.get(f"/v1/jobs/{claim.job_id}").json()["state"] == JobState.CANCELLED)
    assert None not in leases, "the lease expired first"


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
def test_an_invalid_request_is_refused_and_leaves_no_file(
    api: httpx.Client, redis_url: str, uploads: Path, fields: dict[str, str], refusal: tuple[int, str]
) -> None:
    with ScriptedWorker(redis_url):
        answer = post(api, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == refusal
    assert "x-job-id" not in answer.headers
    assert list(uploads.iterdir()) == []


def test_without_a_worker_nothing_is_accepted(api: httpx.Client, uploads: Path) -> None:
    answer = post(api)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "no_worker"
    assert int(answer.headers["retry-after"]) >= 1
    assert list(uploads.iterdir()) == []


def test_events_on_the_way_do_not_disturb_the_answer(api: httpx.Client, redis_url: str) -> None:
    loading = [Loading("weights", float(second)) for second in range(30)]
    with ScriptedWorker(redis_url, Script(first=loading, partials=list("Hello"), segments=[SEGMENT])):
        assert post(api).json()["text"] == "Hello there."
