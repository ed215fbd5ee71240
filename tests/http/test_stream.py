"""`POST /v1/audio/transcriptions/stream` over real HTTP: text as it comes, and time to resume."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
from httpx_sse import EventSource, ServerSentEvent, connect_sse

from shared.capabilities import ModelState, WorkerPresence
from shared.events import Event, Loading, Partial, Progress
from shared.jobs import Endpoint, Failure, FailureCode, JobState
from shared.record import transitions
from shared.record.connection import connect
from shared.record.listeners import RENEWAL_S, choose_lease_s
from shared.record.workers import announce_worker
from shared.transcripts import FinishedWindow, Segment, TranscriptWarning, WarningCode
from tests.support.audio import make_tones, write_wav
from tests.support.recorded_jobs import pass_lease_time, read_listener_lease
from tests.support.scripted_worker import CAPABILITIES, LEASE_S, TTL_S, HeldWorker, Script, ScriptedWorker
from tests.support.server import wait_for
from tests.support.single_claims import claim_job

URL = "/v1/audio/transcriptions/stream"
LISTENER_LEASE_S = choose_lease_s(Endpoint.STREAM, resume_s=0.5)
FILES = {"file": ("a.wav", write_wav(make_tones(2)))}
SCRIPT = Script(
    segments=[Segment(0.0, 1.0, "Hello there.", "en")],
    partials=["Hel", "lo the"],
    first=[Loading("weights", 0.5), Progress(0.0, 2.0)],
)


def read_stream(api: httpx.Client, **fields: str) -> tuple[list[dict[str, Any]], list[tuple[str, Any]]]:
    """The unnamed events, and the named ones with their names."""
    unnamed, named = [], []
    with connect_sse(api, "POST", URL, files=FILES, data=fields) as source:
        assert source.response.status_code == 200
        for event in source.iter_sse():
            if event.event == "message":
                unnamed.append(event.json())
            else:
                named.append((event.event, event.json()))
    return unnamed, named


def test_text_grows_and_ends_with_the_final_one_and_done(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        unnamed, _ = read_stream(api)
    *partials, final, done = unnamed
    assert all(partial["is_final"] is False for partial in partials)
    assert (final["text"], final["language"], final["is_final"]) == ("Hello there.", "en", True)
    assert done == {"done": True}


def test_the_final_text_has_the_engine_and_the_warnings(api: httpx.Client, redis_url: str) -> None:
    warning = TranscriptWarning(WarningCode.TRUNCATED, "cut", 0.0, 1.0)
    with ScriptedWorker(redis_url, Script(SCRIPT.segments, warnings=(warning,), is_complete=False)):
        unnamed, _ = read_stream(api)
    final = unnamed[-2]
    assert final["complete"] is False
    assert final["warnings"] == [{"code": "truncated", "message": "cut", "start": 0.0, "end": 1.0}]
    assert (final["engine"], final["model"]) == ("scripted", "tests/Scripted-0.6B")


def test_each_partial_is_sent_while_the_worker_works(api: httpx.Client, redis_url: str) -> None:
    steps = threading.Semaphore(0)
    with (
        ScriptedWorker(redis_url, SCRIPT, step=steps.acquire),
        connect_sse(api, "POST", URL, files=FILES) as source,
    ):
        unnamed = (event.json() for event in source.iter_sse() if event.event == "message")
        steps.release(len(SCRIPT.first))
        for text in ("Hel", "Hello the"):
            steps.release()
            assert next(unnamed)["text"] == text
        steps.release()
        assert list(unnamed)[-1] == {"done": True}


STARTED = {
    "attempt": 1,
    "engine": "scripted",
    "model": "tests/Scripted-0.6B",
    "rows_in_use": 1,
    "max_rows": 1,
}


def test_named_events_have_the_job_its_position_and_its_progress(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT) as worker:
        _, named = read_stream(api)
    assert named[:5] == [
        ("job", {"id": worker.claims[0].job_id}),
        ("queued", {"position": 0, "eta_s": None}),
        ("started", STARTED),
        ("loading", {"phase": "weights", "elapsed_s": 0.5}),
        ("progress", {"processed_s": 0.0, "duration_s": 2.0}),
    ]


def test_the_language_hint_is_shown_before_a_language_is_detected(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, Script(partials=["Guten"])):
        unnamed, _ = read_stream(api, language="German")
    assert {event.get("language", "de") for event in unnamed} == {"de"}


def test_a_failure_is_the_last_event(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, Script(partials=["Hel"], failure=Failure(FailureCode.TIMEOUT, "slow"))):
        unnamed, _ = read_stream(api)
    assert unnamed[-1] == {
        "error": {"message": "slow", "type": "server_error", "param": None, "code": "timeout"}
    }


def test_an_invalid_request_is_answered_before_the_stream(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url):
        answer = api.post(URL, files=FILES, data={"language": "Klingon"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "language"


def test_text_of_a_requeued_job_goes_on_after_its_last_finished_window(
    api: httpx.Client, redis_url: str
) -> None:
    worker = HandWorker(redis_url)
    with connect_sse(api, "POST", URL, files=FILES) as source:
        events = source.iter_sse()
        texts = (event.json() for event in events if event.event == "message")
        # Given a job with a finished window and a begun one
        worker.claim()
        worker.tell(Partial(0, "Hel", "lo", "en"))
        assert next(texts) == {"text": "Hello", "language": "en", "is_final": False}
        worker.finish(0, Segment(0.0, 1.0, "Hello there.", "en"))
        assert next(texts)["text"] == "Hello there."
        worker.tell(Partial(1, "Gener", "", "en"))
        assert next(texts)["text"] == "Hello there. Gener"
        # When it is queued again, then what was begun is gone, and it says so
        worker.give_back()
        assert _read_named(events, "requeued") == {"reason": "worker_stopping"}
        assert next(texts)["text"] == "Hello there."
        # And when it is claimed once more, then its text goes on there
        worker.claim()
        worker.tell(Partial(1, "General", "", "en"))
        assert next(texts)["text"] == "Hello there. General"
        worker.finish(1, Segment(1.0, 2.0, "General Kenobi.", "en"))
        assert next(texts)["text"] == "Hello there. General Kenobi."
        worker.succeed()
        final, done = texts
    assert (final["text"], final["is_final"]) == ("Hello there. General Kenobi.", True)
    assert done == {"done": True}


class HandWorker:
    """A worker that does one thing at a time, as it is told to."""

    def __init__(self, redis_url: str) -> None:
        self._runner = connect(redis_url)
        self._runner.run(announce_worker(WorkerPresence("hand", CAPABILITIES, ModelState.READY, "cpu")))

    def claim(self) -> None:
        call = claim_job("hand", engine="scripted", model=CAPABILITIES.model, lease_s=LEASE_S)
        self._claim = wait_for(lambda: self._runner.run(call), what="a job to claim")

    def tell(self, event: Event) -> None:
        self._runner.run(transitions.emit_event(self._claim, event))

    def finish(self, window: int, segment: Segment) -> None:
        end_sample = round(segment.end_s * 16_000)
        finished = FinishedWindow((segment,), window=window, resume_sample=end_sample)
        self._runner.run(transitions.finish_window(self._claim, finished))

    def give_back(self) -> None:
        self._runner.run(transitions.yield_job(self._claim, reason="worker_stopping", inference_ms=1))

    def succeed(self) -> None:
        self._runner.run(transitions.finish_job(self._claim, JobState.SUCCEEDED, ttl_s=TTL_S))


def _read_named(events: Iterator[ServerSentEvent], name: str) -> dict[str, Any]:
    """The next event of that name; those before it are skipped."""
    data: dict[str, Any] = next(event.json() for event in events if event.event == name)
    return data


def test_a_stream_without_a_listener_is_cancelled(api: httpx.Client, redis_url: str) -> None:
    endless = Script(first=[Loading("weights", 0.0)] * 100_000)
    with ScriptedWorker(redis_url, endless, step=lambda: time.sleep(0.005)):
        job_url = _leave_stream(api)
        assert api.get(job_url).json()["state"] in {"queued", "running"}
        pass_lease_time(redis_url, LISTENER_LEASE_S)
        wait_for(lambda: api.get(job_url).json()["state"] == "cancelled")


def test_a_stream_without_its_client_goes_on_while_it_is_followed(api: httpx.Client, redis_url: str) -> None:
    with HeldWorker(redis_url, SCRIPT) as worker, ExitStack() as follower:
        with connect_sse(api, "POST", URL, files=FILES) as source:
            job_url = _job_of(source)
            lines = follower.enter_context(api.stream("GET", f"{job_url}/events")).iter_lines()
            assert "event: queued" in lines
        job_id = job_url.rpartition("/")[2]
        pass_lease_time(redis_url, LISTENER_LEASE_S - RENEWAL_S - 1)
        lease_before = read_listener_lease(redis_url, job_id)
        wait_for(lambda: read_listener_lease(redis_url, job_id) != lease_before, what="the renewal")
        worker.go_on.set()
        assert "event: succeeded" in lines


def _leave_stream(api: httpx.Client) -> str:
    with connect_sse(api, "POST", URL, files=FILES) as source:
        return _job_of(source)


def _job_of(source: EventSource) -> str:
    return f"/v1/jobs/{json.loads(next(source.iter_sse()).data)['id']}"
