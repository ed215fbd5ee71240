"""`GET /v1/jobs/{id}/transcript` over real HTTP: any format at any time, or the code of the reason."""

import httpx
import pytest
import redis

from shared.jobs import Failure, FailureCode, WordTimestamps
from shared.record.keys import KEY_PREFIX
from shared.transcripts import Segment, TranscriptWarning, WarningCode, Word
from tests.support.audio import make_tones, write_wav
from tests.support.scripted_worker import HeldWorker, Script, ScriptedWorker
from tests.support.server import wait_for

FILES = {"file": ("a.wav", write_wav(make_tones(2)))}
WORDS = (Word(0.0, 0.4, "Hello"), Word(0.5, 1.0, " there."))
SCRIPT = Script(segments=[Segment(0.0, 1.0, "Hello there.", "en", WORDS)])
FORMATS = ["json", "text", "srt", "vtt", "verbose_json"]


def submit(api: httpx.Client, **fields: str) -> str:
    answer = api.post("/v1/jobs", files=FILES, data=fields)
    assert answer.status_code == 202, answer.text
    return str(answer.headers["location"])


def end(api: httpx.Client, location: str) -> str:
    """The final state of a job, when it has one."""
    final = {"succeeded", "failed", "cancelled"}
    return wait_for(lambda: final & {api.get(location).json()["state"]}).pop()


def code_of(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status
    return str(answer.json()["error"]["code"])


def test_any_format_can_be_fetched_again_and_again_from_one_transcription(
    api: httpx.Client, redis_url: str
) -> None:
    with ScriptedWorker(redis_url, SCRIPT) as worker:
        location = submit(api)
        end(api, location)
        for shape in FORMATS:
            answer = api.get(f"{location}/transcript", params={"format": shape})
            assert answer.status_code == 200
            again = api.get(f"{location}/transcript", params={"format": shape})
            assert (again.text, again.headers["content-type"]) == (
                answer.text,
                answer.headers["content-type"],
            )
            assert answer.headers["x-engine"] == "scripted"
        assert len(worker.claims) == 1
    assert api.get(f"{location}/transcript").json()["text"] == "Hello there."
    assert api.get(f"{location}/transcript", params={"format": "text"}).text == "Hello there.\n"


@pytest.mark.parametrize("shape", FORMATS)
def test_it_equals_the_answer_of_the_synchronous_call(api: httpx.Client, redis_url: str, shape: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        at_once = api.post("/v1/audio/transcriptions", files=FILES, data={"response_format": shape})
        location = submit(api, response_format=shape)
        end(api, location)
    later = api.get(f"{location}/transcript", params={"format": shape})
    assert later.text == at_once.text
    assert later.headers["content-type"] == at_once.headers["content-type"]


def test_requested_words_are_in_json_and_verbose_json(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        location = submit(api, return_timestamps="true", language="en")
        end(api, location)
    times = [{"word": "Hello", "start": 0.0, "end": 0.4}, {"word": "there.", "start": 0.5, "end": 1.0}]
    assert api.get(f"{location}/transcript").json()["timestamps"] == times
    verbose = api.get(f"{location}/transcript", params={"format": "verbose_json"}).json()
    assert [word["start"] for word in verbose["words"]] == [0.0, 0.5]
    assert verbose["segments"][0]["end"] == 1.0


@pytest.mark.parametrize(
    ("shape", "word_timestamps"),
    [
        ("json", WordTimestamps.NONE),
        ("text", WordTimestamps.NONE),
        ("srt", WordTimestamps.WELCOME),
        ("vtt", WordTimestamps.WELCOME),
        ("verbose_json", WordTimestamps.WELCOME),
    ],
)
def test_announced_subtitles_are_timed_by_words(
    api: httpx.Client, redis_url: str, shape: str, word_timestamps: WordTimestamps
) -> None:
    with ScriptedWorker(redis_url, SCRIPT) as worker:
        end(api, submit(api, response_format=shape))
    assert worker.claims[0].request.word_timestamps is word_timestamps


def test_headers_warn_of_missing_text(api: httpx.Client, redis_url: str) -> None:
    warning = TranscriptWarning(WarningCode.TRUNCATED, "cut", 0.0, 1.0)
    with ScriptedWorker(redis_url, Script(SCRIPT.segments, warnings=(warning,), is_complete=False)):
        location = submit(api)
        end(api, location)
    headers = api.get(f"{location}/transcript", params={"format": "text"}).headers
    assert (headers["x-transcript-complete"], headers["x-transcript-warnings"]) == ("false", "1")


def test_a_job_without_a_transcript_says_why(api: httpx.Client, redis_url: str) -> None:
    with HeldWorker(redis_url, SCRIPT) as worker:
        running = submit(api)
        worker.wait_for_claim()
        waiting, cancelled = submit(api), submit(api)
        assert code_of(api.get(f"{running}/transcript"), 409) == "job_unfinished"
        assert code_of(api.get(f"{waiting}/transcript"), 409) == "job_unfinished"
        api.delete(cancelled)
        refusal = api.get(f"{cancelled}/transcript")
        assert code_of(refusal, 409) == "cancelled"
        assert refusal.headers["x-should-retry"] == "false"
        worker.go_on.set()
    with ScriptedWorker(redis_url, Script(failure=Failure(FailureCode.ENGINE_CRASH, "it died"))):
        failed = submit(api)
        assert end(api, failed) == "failed"
    refusal = api.get(f"{failed}/transcript")
    assert code_of(refusal, 409) == "engine_crash"
    assert "it died" in refusal.json()["error"]["message"]


def test_an_unknown_format_is_refused(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        location = submit(api)
        end(api, location)
    assert api.get(f"{location}/transcript", params={"format": "yaml"}).status_code == 400


@pytest.mark.parametrize("visit", ["", "/transcript", "/events"])
def test_a_job_whose_ttl_is_over_is_gone_and_one_that_never_was_is_unknown(
    api: httpx.Client, redis_url: str, visit: str
) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        location = submit(api)
        end(api, location)
    expire(redis_url, location)
    assert code_of(api.get(f"{location}{visit}"), 410) == "job_gone"
    assert code_of(api.get(f"/v1/jobs/never{visit}"), 404) == "job_not_found"


def test_a_gone_job_cannot_be_deleted_and_a_deleted_job_is_unknown(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        gone, deleted = submit(api), submit(api)
        end(api, gone)
        end(api, deleted)
    expire(redis_url, gone)
    assert code_of(api.delete(gone), 410) == "job_gone"
    assert api.delete(deleted).status_code == 204
    assert code_of(api.get(f"{deleted}/transcript"), 404) == "job_not_found"


def test_the_record_is_kept_for_its_ttl_and_remembered_for_longer(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        location = submit(api)
        end(api, location)
    job_id = location.rpartition("/")[2]
    with redis.Redis.from_url(redis_url) as connection:
        record_ms, memory_ms = (connection.pttl(f"{KEY_PREFIX}{name}:{job_id}") for name in ("job", "gone"))
    assert 0 < record_ms <= 60_000 < memory_ms <= 480_000


def expire(redis_url: str, location: str) -> None:
    """Let the TTL of a job be over."""
    job_id = location.rpartition("/")[2]
    with redis.Redis.from_url(redis_url) as connection:
        for name in ("job", "log", "segments", "warnings"):
            connection.delete(f"{KEY_PREFIX}{name}:{job_id}")
