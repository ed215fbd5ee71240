"""`/v1/jobs` over real HTTP: submit, poll, follow from any event, cancel, delete."""

import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from httpx_sse import ServerSentEvent, connect_sse

from shared.errors import QueueUnavailable
from shared.events import Loading
from shared.jobs import Failure, FailureCode, Priority
from shared.record.keys import KEY_PREFIX
from shared.record.scripts import AsyncScriptRunner, RecordCall
from shared.transcripts import Segment, TranscriptWarning, WarningCode
from tests.support.audio import make_tones, write_wav
from tests.support.recorded_jobs import record_job
from tests.support.scripted_worker import HeldWorker, Script, ScriptedWorker
from tests.support.server import wait_for

AUDIO = write_wav(make_tones(2))
SEGMENT = Segment(0.0, 1.0, "Hello there.", "en")
SCRIPT = Script(segments=[SEGMENT], partials=["Hel", "lo"], first=[Loading("weights", 0.5)])


def submit(api: httpx.Client, **fields: str) -> str:
    answer = api.post("/v1/jobs", files={"file": ("a.wav", AUDIO)}, data=fields)
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    return str(answer.headers["location"])


def follow(api: httpx.Client, url: str, **headers: str) -> list[ServerSentEvent]:
    with connect_sse(api, "GET", f"{url}/events", headers=headers) as source:
        assert source.response.status_code == 200
        return list(source.iter_sse())


def test_a_job_is_accepted_at_once_and_has_its_transcript_in_the_end(
    api: httpx.Client, redis_url: str
) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        url = submit(api)
        follow(api, url)
        job = api.get(url).json()
    assert job["state"] == "succeeded"
    assert job["position"] is None
    assert job["progress"] == {"processed_s": 2.0, "duration_s": 2.0}
    assert job["transcript"]["text"] == "Hello there."
    assert job["transcript"]["segments"] == [
        {"start": 0.0, "end": 1.0, "text": "Hello there.", "language": "en"}
    ]
    assert job["timings"]["created_at"] <= job["timings"]["started_at"] <= job["timings"]["finished_at"]


def test_a_job_and_its_events_name_the_engine(api: httpx.Client, redis_url: str) -> None:
    with HeldWorker(redis_url, SCRIPT) as worker:
        first = submit(api)
        worker.wait_for_claim()
        waiting = api.get(submit(api)).json()
        worker.go_on.set()
        started = follow(api, first)[1]
    assert (waiting["engine"], waiting["model"]) == (None, None)
    job = api.get(first).json()
    assert (job["engine"], job["model"]) == ("scripted", "tests/Scripted-0.6B")
    assert started.json() == {
        "attempt": 1,
        "engine": "scripted",
        "model": "tests/Scripted-0.6B",
        "rows_in_use": 1,
        "max_rows": 1,
    }


def test_the_job_and_its_last_event_warn_of_missing_text(api: httpx.Client, redis_url: str) -> None:
    warning = TranscriptWarning(WarningCode.TRUNCATED, "cut", 0.0, 1.0)
    with ScriptedWorker(redis_url, Script([SEGMENT], warnings=(warning,), is_complete=False)):
        url = submit(api)
        last = follow(api, url)[-1]
    told = {
        "complete": False,
        "warnings": [{"code": "truncated", "message": "cut", "start": 0.0, "end": 1.0}],
    }
    assert (last.event, last.json()) == ("succeeded", told)
    assert api.get(url).json()["transcript"].items() >= told.items()


def test_queued_jobs_have_a_position_and_interactive_jobs_go_first(api: httpx.Client, redis_url: str) -> None:
    with HeldWorker(redis_url, SCRIPT) as worker:
        submit(api)
        worker.wait_for_claim()
        batch = submit(api)
        interactive = submit(api, priority="interactive")
        assert api.get(interactive).json()["position"] == 0
        assert api.get(batch).json()["position"] == 1
        assert api.get(batch).json()["priority"] == Priority.BATCH


def test_metadata_is_given_back_untouched_whatever_becomes_of_the_job(
    api: httpx.Client, redis_url: str
) -> None:
    metadata = {"order": 12345678901234567890123, "ünï": [1.5, None, {"deep": ["", True]}], "key_name": "x"}
    with HeldWorker(redis_url, SCRIPT) as worker:
        url = submit(api, metadata=json.dumps(metadata))
        assert api.get(url).json()["metadata"] == metadata
        assert api.get(submit(api)).json()["metadata"] is None
        worker.go_on.set()
        follow(api, url)
        job = api.get(url).json()
    assert (job["state"], job["metadata"]) == ("succeeded", metadata)


def test_metadata_other_than_a_small_object_is_refused(
    api: httpx.Client, redis_url: str, uploads: Path
) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        for metadata in ("[]", "{", json.dumps({"a": "x" * 5_000})):
            answer = api.post("/v1/jobs", files={"file": ("a.wav", AUDIO)}, data={"metadata": metadata})
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "metadata")
    assert list(uploads.iterdir()) == []
    assert api.get("/v1/jobs").json()["data"] == []


def test_a_job_has_an_eta_and_the_state_of_the_model(api: httpx.Client, redis_url: str) -> None:
    with HeldWorker(redis_url, SCRIPT) as worker:
        running = submit(api)
        worker.wait_for_claim()
        waiting = submit(api)
        assert api.get(waiting).json()["eta_s"] is None
        with redis.Redis.from_url(redis_url) as connection:
            connection.hset(f"{KEY_PREFIX}speed", mapping={"audio_s:1": "8.0", "inference_s:1": "2.0"})
        jobs = [api.get(url).json() for url in (running, waiting)]
        assert [job["eta_s"] for job in jobs] == [0.5, 1.0]
        assert [job["model_state"] for job in jobs] == ["warm", "warm"]
        with connect_sse(api, "GET", f"{submit(api)}/events") as source:
            assert next(source.iter_sse()).json() == {"position": 1, "eta_s": 1.5}


def test_every_answer_about_a_job_names_it(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        url = submit(api)
        follow(api, url)
    for answer in (api.get(url), api.get(f"{url}/transcript"), api.delete(url)):
        assert answer.headers["x-job-id"] == url.rpartition("/")[2]


def test_a_job_that_fails_says_why(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, Script(failure=Failure(FailureCode.ENGINE_CRASH, "it died"))):
        url = submit(api)
        events = follow(api, url)
        job = api.get(url).json()
    assert job["state"] == "failed"
    assert job["error"] == {"code": "engine_crash", "message": "it died"}
    assert events[-1].event == "failed"
    assert events[-1].json() == {"code": "engine_crash", "message": "it died"}


def test_a_late_listener_gets_all_events_from_the_start(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        url = submit(api)
        live = follow(api, url)
        late = follow(api, url)
    assert [event.event for event in late] == [
        "queued", "started", "loading", "segment", "progress", "succeeded",
    ]  # fmt: skip
    assert live[-1].id == late[-1].id
    assert late[3].json() == {"start": 0.0, "end": 1.0, "text": "Hello there.", "language": "en"}
    assert len({event.id for event in late}) == len(late)


def test_a_listener_resumes_where_it_was_but_not_after_the_end(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        url = submit(api)
        events = follow(api, url)
    by_header = follow(api, url, **{"Last-Event-ID": events[0].id})
    assert [event.id for event in by_header if event.event == "started"] == [events[1].id]
    assert api.get(f"{url}/events", params={"last_event_id": events[-1].id}).status_code == 204
    assert api.get(f"{url}/events", headers={"Last-Event-ID": events[-1].id}).status_code == 204


def test_a_listener_gets_the_reconnection_time_once(api: httpx.Client, redis_url: str) -> None:
    with HeldWorker(redis_url, SCRIPT) as worker:
        url = submit(api)
        worker.go_on.set()
        first, *others = follow(api, url)
    assert 1_000 <= (first.retry or 0) <= 2_000
    assert {event.retry for event in others} == {None}


def test_partials_are_live_and_silence_is_filled_with_comments(api: httpx.Client, redis_url: str) -> None:
    steps = threading.Semaphore(0)
    with ScriptedWorker(redis_url, SCRIPT, step=steps.acquire):
        url = submit(api)
        with api.stream("GET", f"{url}/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-cache"
            lines = answer.iter_lines()
            assert ": heartbeat" in lines
            steps.release(2)
            assert 'data: {"window":0,"delta":"Hel","tail":"","language":null}' in lines
            steps.release(2)
            assert "event: succeeded" in lines


@pytest.mark.parametrize("given", ["abc", "1-2-3", "$", "1 2"])
def test_a_malformed_event_id_is_refused(api: httpx.Client, redis_url: str, given: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        url = submit(api)
        answer = api.get(f"{url}/events", params={"last_event_id": given})
        both = api.get(
            f"{url}/events", params={"last_event_id": given}, headers={"Last-Event-ID": "1763820000000-0"}
        )
    assert answer.status_code == both.status_code == 400
    assert answer.json()["error"]["param"] == "last_event_id"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls on the record that read a job or renew its lease, in their order."""
    names: list[str] = []
    run = AsyncScriptRunner.run

    async def note_and_run(runner: AsyncScriptRunner, call: RecordCall[Any]) -> Any:
        if call.name in {"read_job", "read_log", "renew_listeners"}:
            names.append(call.name)
        return await run(runner, call)

    monkeypatch.setattr(AsyncScriptRunner, "run", note_and_run)
    return names


def test_a_poll_asks_redis_once(api: httpx.Client, redis_url: str, calls: list[str]) -> None:
    assert api.get(record_job(redis_url)).status_code == 200
    assert calls == ["read_job"]


def test_a_listener_gets_its_first_event_after_two_calls(
    api: httpx.Client, redis_url: str, calls: list[str]
) -> None:
    location = record_job(redis_url)
    calls.clear()
    with api.stream("GET", f"{location}/events") as answer:
        next(answer.iter_lines())
        assert calls[:2] == ["read_log", "renew_listeners"]


def test_an_outage_between_these_calls_does_not_turn_a_listener_away(
    api: httpx.Client, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[str] = []
    run = AsyncScriptRunner.run

    async def lose_the_first_renewal(runner: AsyncScriptRunner, call: RecordCall[Any]) -> Any:
        if call.name == "renew_listeners" and not lost:
            lost.append(call.name)
            raise QueueUnavailable
        return await run(runner, call)

    location = record_job(redis_url)
    monkeypatch.setattr(AsyncScriptRunner, "run", lose_the_first_renewal)
    with api.stream("GET", f"{location}/events") as answer:
        assert answer.status_code == 200
    assert lost


def test_an_unknown_job_is_not_found_at_any_endpoint(api: httpx.Client) -> None:
    for answer in (api.get("/v1/jobs/no"), api.get("/v1/jobs/no/events"), api.delete("/v1/jobs/no")):
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "job_not_found"


def test_deleting_cancels_a_queued_job_and_its_audio_is_gone(
    api: httpx.Client, redis_url: str, uploads: Path
) -> None:
    with HeldWorker(redis_url, SCRIPT) as worker:
        submit(api)
        worker.wait_for_claim()
        url = submit(api)
        answer = api.delete(url)
        assert answer.status_code == 200
        assert answer.json()["state"] == "cancelled"
        assert url.rpartition("/")[2] not in {path.stem for path in uploads.iterdir()}
        assert follow(api, url)[-1].event == "cancelled"


def test_deleting_a_running_job_stops_its_worker(api: httpx.Client, redis_url: str) -> None:
    with HeldWorker(redis_url, SCRIPT) as worker:
        url = submit(api)
        worker.wait_for_claim()
        assert api.get(url).json()["cancel_requested"] is False
        answer = api.delete(url)
        assert answer.status_code == 202
        for job in (answer.json(), api.get(url).json()):
            assert (job["state"], job["cancel_requested"]) == ("running", True)
        worker.go_on.set()
        wait_for(lambda: api.get(url).json()["state"] == "cancelled")


def test_deleting_a_final_job_removes_it_with_its_audio(
    api: httpx.Client, redis_url: str, uploads: Path
) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        url = submit(api)
        follow(api, url)
    assert {path.stem for path in uploads.iterdir()} == {url.rpartition("/")[2]}
    assert api.delete(url).status_code == 204
    assert list(uploads.iterdir()) == []
    assert api.get(url).status_code == 404
    assert api.delete(url).status_code == 404


def test_an_unknown_path_or_method_is_answered_in_the_usual_shape(api: httpx.Client) -> None:
    for answer, status in ((api.get("/v1/nothing"), 404), (api.put("/v1/jobs"), 405)):
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert answer.headers["x-request-id"]
