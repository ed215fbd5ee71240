"""`?partial=true` over real HTTP: the finished windows of a job that has not succeeded, in any format."""

from collections.abc import Callable

import httpx
import pytest

from shared.events import Partial
from shared.jobs import Claim, Failure, FailureCode, JobState
from shared.record import transitions
from shared.record.connection import connect
from shared.record.scripts import ScriptRunner
from shared.transcripts import FinishedWindow, Segment, TranscriptWarning, WarningCode
from tests.support.audio import make_tones, write_wav
from tests.support.recorded_jobs import record_job
from tests.support.scripted_worker import Script, ScriptedWorker
from tests.support.single_claims import claim_job

TTL_S = 60.0
FAILURE = Failure(FailureCode.TIMEOUT, "It took too long.")
SEGMENT = Segment(0.0, 1.0, "Hello there.", "en")
WARNING = TranscriptWarning(WarningCode.REPETITION, "The repeats were cut.", 0.0, 1.0)
WINDOW = FinishedWindow((SEGMENT,), (WARNING,), window=0, resume_sample=16_000)
FORMATS = ["json", "text", "srt", "vtt", "verbose_json"]

Leave = Callable[[ScriptRunner, Claim], object]


def stay(_runner: ScriptRunner, _claim: Claim) -> None:
    """Leave a job running."""


def give_back(runner: ScriptRunner, claim: Claim) -> None:
    assert runner.run(transitions.yield_job(claim, reason="yielded", inference_ms=300_000)) == "requeued"


def fail(runner: ScriptRunner, claim: Claim) -> None:
    call = transitions.finish_job(claim, JobState.FAILED, failure=FAILURE, inference_ms=300_000, ttl_s=TTL_S)
    assert runner.run(call) == "finished"


def cancel(runner: ScriptRunner, claim: Claim) -> None:
    runner.run(transitions.cancel_job(claim.job_id, ttl_s=TTL_S))
    call = transitions.finish_job(claim, JobState.CANCELLED, inference_ms=300_000, ttl_s=TTL_S)
    assert runner.run(call) == "cancelled"


WAYS: dict[str, Leave] = {"running": stay, "queued": give_back, "failed": fail, "cancelled": cancel}
CODES = {
    "running": "job_unfinished",
    "queued": "job_unfinished",
    "failed": "timeout",
    "cancelled": "cancelled",
}


def record_window(redis_url: str, leave: Leave) -> str:
    """Put a job of 2 s on record whose first second is finished; answers its path."""
    location = record_job(redis_url)
    runner = connect(redis_url)
    claim = runner.run(claim_job("w", engine="scripted", model="tests", lease_s=30))
    assert claim is not None
    runner.run(transitions.emit_event(claim, Partial(window=0, delta="Hello")))
    runner.run(transitions.finish_window(claim, WINDOW, inference_ms=1_000))
    leave(runner, claim)
    return location


def read_partial(api: httpx.Client, location: str, shape: str) -> httpx.Response:
    answer = api.get(f"{location}/transcript", params={"format": shape, "partial": "true"})
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("state", WAYS)
def test_finished_windows_can_be_fetched_in_any_format(api: httpx.Client, redis_url: str, state: str) -> None:
    location = record_window(redis_url, WAYS[state])
    assert api.get(location).json()["state"] == state
    answers = {shape: read_partial(api, location, shape) for shape in FORMATS}
    for answer in answers.values():
        assert answer.headers["x-transcript-complete"] == "false"
        assert answer.headers["x-transcript-warnings"] == "1"
        assert answer.headers["x-engine"] == "scripted"
    for shape in ("json", "verbose_json"):
        body = answers[shape].json()
        assert (body["text"], body["complete"], body["duration"]) == ("Hello there.", False, 2.0)
        assert [warning["code"] for warning in body["warnings"]] == ["repetition"]
    assert [segment["end"] for segment in answers["verbose_json"].json()["segments"]] == [1.0]
    assert answers["text"].text == "Hello there.\n"
    assert answers["srt"].text.splitlines()[1:3] == ["00:00:00,000 --> 00:00:01,000", "Hello there."]
    assert answers["vtt"].text.splitlines()[2:4] == ["00:00:00.000 --> 00:00:01.000", "Hello there."]


@pytest.mark.parametrize("state", WAYS)
def test_a_refusal_names_the_way_to_finished_windows(api: httpx.Client, redis_url: str, state: str) -> None:
    location = record_window(redis_url, WAYS[state])
    refusal = api.get(f"{location}/transcript")
    assert refusal.status_code == 409
    assert refusal.json()["error"]["code"] == CODES[state]
    offer = f"The transcript of its first 1 s is at {location}/transcript?partial=true."
    assert refusal.json()["error"]["message"].endswith(offer)
    assert api.get(f"{location}/transcript?partial=false").json() == refusal.json()


def test_a_job_without_finished_windows_has_an_empty_transcript(api: httpx.Client, redis_url: str) -> None:
    location = record_job(redis_url)
    assert "partial" not in api.get(f"{location}/transcript").json()["error"]["message"]
    body = read_partial(api, location, "json").json()
    assert (body["text"], body["complete"]) == ("", False)
    texts = [read_partial(api, location, shape).text for shape in ("text", "srt", "vtt")]
    assert texts == ["\n", "", "WEBVTT\n\n"]


@pytest.mark.parametrize("state", ["queued", "failed", "cancelled"])
def test_a_job_shows_how_far_it_came_and_what_its_inference_took(
    api: httpx.Client, redis_url: str, state: str
) -> None:
    job = api.get(record_window(redis_url, WAYS[state])).json()
    assert job["progress"] == {"processed_s": 1.0, "duration_s": 2.0}
    assert job["timings"]["inference_s"] == 300.0
    assert job["transcript"] is None


def test_the_text_of_a_cancelled_job_is_kept_until_the_job_is_deleted(
    api: httpx.Client, redis_url: str
) -> None:
    location = record_window(redis_url, give_back)
    assert api.delete(location).json()["state"] == "cancelled"
    assert read_partial(api, location, "text").text == "Hello there.\n"
    assert api.delete(location).status_code == 204
    answer = api.get(f"{location}/transcript", params={"partial": "true"})
    assert answer.json()["error"]["code"] == "job_not_found"


def test_the_transcript_of_a_job_that_succeeded_is_the_same(api: httpx.Client, redis_url: str) -> None:
    def succeed(runner: ScriptRunner, claim: Claim) -> None:
        runner.run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=TTL_S))

    location = record_window(redis_url, succeed)
    for shape in FORMATS:
        whole = api.get(f"{location}/transcript", params={"format": shape})
        partial = read_partial(api, location, shape)
        assert partial.text == whole.text
        assert "x-transcript-complete" not in partial.headers
    assert read_partial(api, location, "json").json()["complete"] is True


def test_a_synchronous_call_that_fails_names_the_way_to_finished_windows(
    api: httpx.Client, redis_url: str
) -> None:
    files = {"file": ("a.wav", write_wav(make_tones(2)))}
    with ScriptedWorker(redis_url, Script(segments=[SEGMENT], failure=FAILURE)):
        answer = api.post("/v1/audio/transcriptions", files=files)
    assert answer.status_code == 504
    location = f"/v1/jobs/{answer.headers['x-job-id']}"
    offer = f"The transcript of its first 2 s is at {location}/transcript?partial=true."
    assert answer.json()["error"]["message"] == f"{FAILURE.message} {offer}"
    assert read_partial(api, location, "text").text == "Hello there.\n"


def test_a_value_other_than_a_boolean_is_refused(api: httpx.Client, redis_url: str) -> None:
    answer = api.get(f"{record_job(redis_url)}/transcript", params={"partial": "maybe"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "partial")
