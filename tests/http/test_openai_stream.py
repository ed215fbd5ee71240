"""`stream=true` over real HTTP: it sends only events that OpenAI's clients understand."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.events import Loading, Progress
from shared.jobs import Directive, Failure, FailureCode
from shared.record.connection import connect
from shared.transcripts import Segment, TokenCounts
from tests.support.audio import make_tones, write_wav
from tests.support.recorded_jobs import read_listener_lease
from tests.support.scripted_worker import LEASE_S, HeldWorker, Script, ScriptedWorker
from tests.support.server import wait_for
from tests.support.single_claims import beat_claim, crash_engine

URL = "/v1/audio/transcriptions"
FILES = {"file": ("a.wav", write_wav(make_tones(2)))}
SCRIPT = Script(
    segments=[Segment(0.0, 1.0, "Hello there.", "en")],
    partials=["Hel", "lo the"],
    first=[Loading("weights", 0.5), Progress(0.0, 2.0)],
)


def read_frames(answer: httpx.Response) -> Iterator[str]:
    """The frames of a stream as they come, without comments."""
    lines: list[str] = []
    for line in answer.iter_lines():
        if line:
            lines.append(line)
            continue
        frame, lines = "\n".join(lines), []
        if not frame.startswith(":"):
            yield frame


def read_bodies(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    """The frames that are JSON."""
    for frame in read_frames(answer):
        if frame != "data: [DONE]":
            yield json.loads(frame.removeprefix("data: "))


def open_stream(api: httpx.Client, **fields: str) -> Any:
    return api.stream("POST", URL, files=FILES, data={"stream": "true", **fields})


def test_deltas_then_done_then_the_end_and_nothing_else(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT) as worker, open_stream(api) as answer:
        frames = list(read_frames(answer))
    *deltas, done, end = frames
    assert end == "data: [DONE]"
    assert json.loads(done.removeprefix("data: ")) == {
        "type": "transcript.text.done",
        "text": "Hello there.",
    }
    bodies = [json.loads(frame.removeprefix("data: ")) for frame in deltas]
    assert {body["type"] for body in bodies} == {"transcript.text.delta"}
    assert "".join(body["delta"] for body in bodies) == "Hello there."
    assert answer.headers["x-job-id"] == worker.claims[0].job_id


def test_the_tokens_that_the_engine_counted_are_the_usage(api: httpx.Client, redis_url: str) -> None:
    script = Script(SCRIPT.segments, token_counts=TokenCounts(text_input=9, audio_input=26, output=5))
    with ScriptedWorker(redis_url, script):
        with open_stream(api) as answer:
            *_, done = read_bodies(answer)
        plain = api.post(URL, files=FILES).json()
    assert done["usage"] == {
        "type": "tokens",
        "input_tokens": 35,
        "output_tokens": 5,
        "total_tokens": 40,
        "input_token_details": {"text_tokens": 9, "audio_tokens": 26},
    }
    assert plain["usage"] == {"type": "duration", "seconds": 2}


def test_the_headers_keep_proxies_from_buffering(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT), open_stream(api) as answer:
        answer.read()
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in answer.headers


def test_each_delta_is_sent_while_the_worker_works(api: httpx.Client, redis_url: str) -> None:
    steps = threading.Semaphore(0)
    with ScriptedWorker(redis_url, SCRIPT, step=steps.acquire), open_stream(api) as answer:
        bodies = read_bodies(answer)
        steps.release(len(SCRIPT.first))
        for delta in SCRIPT.partials:
            steps.release()
            assert next(bodies)["delta"] == delta
        steps.release()
        assert list(bodies)[-1]["text"] == "Hello there."


def test_silence_ends_with_an_empty_text(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, Script()), open_stream(api) as answer:
        assert list(read_bodies(answer)) == [{"type": "transcript.text.done", "text": ""}]


def test_a_failure_on_the_way_is_the_last_frame(api: httpx.Client, redis_url: str) -> None:
    script = Script(partials=["Hel"], failure=Failure(FailureCode.TIMEOUT, "slow"))
    with ScriptedWorker(redis_url, script), open_stream(api) as answer:
        frames = list(read_frames(answer))
    assert json.loads(frames[-1].removeprefix("data: ")) == {
        "error": {"message": "slow", "type": "server_error", "param": None, "code": "timeout"}
    }


def crash_once(worker: ScriptedWorker, *, before_step: int, heard: Callable[[], object]) -> None:
    """Let the model process of `worker` die once, as soon as a client has `heard` what came before."""
    steps = iter(range(1, before_step + 1))
    record = connect(worker.redis_url)

    def step() -> None:
        if next(steps, None) == before_step:
            heard()
            record.run(crash_engine(worker.claims[0], ttl_s=60))

    worker.step = step


def test_after_a_crash_the_text_goes_on_where_it_was(api: httpx.Client, redis_url: str) -> None:
    heard = threading.Event()
    script = Script(SCRIPT.segments, partials=["Hello ", "there"])
    worker = ScriptedWorker(redis_url, script)
    crash_once(worker, before_step=2, heard=heard.wait)
    with worker, open_stream(api) as answer:
        bodies = read_bodies(answer)
        deltas = [next(bodies)["delta"]]
        heard.set()
        *rest, done = bodies
    deltas += [body["delta"] for body in rest]
    assert len(worker.claims) == 2
    assert deltas[0] == "Hello"
    assert "".join(deltas) == done["text"] == "Hello there."


def test_text_that_differs_after_a_crash_ends_the_stream_but_not_the_job(
    api: httpx.Client, redis_url: str
) -> None:
    heard = threading.Event()
    worker = ScriptedWorker(redis_url, Script(SCRIPT.segments, partials=["Hallo ", "there"]))

    def change_text() -> None:
        heard.wait()
        worker.script = SCRIPT

    crash_once(worker, before_step=2, heard=change_text)
    crash, interrupted = worker.step, threading.Event()
    steps_to_partial = iter([*SCRIPT.first, SCRIPT.partials[0]])

    def wait_after_first_partial() -> None:
        crash()
        if len(worker.claims) > 1 and next(steps_to_partial, None) is None:
            interrupted.wait()

    worker.step = wait_after_first_partial
    with worker, open_stream(api) as answer:
        bodies = read_bodies(answer)
        assert next(bodies)["delta"] == "Hallo"
        heard.set()
        (last,) = bodies
        assert read_listener_lease(redis_url, worker.claims[0].job_id) is None
        interrupted.set()
        job_url = f"/v1/jobs/{worker.claims[0].job_id}"
        job = wait_for(lambda: api.get(job_url).json()["transcript"], what="the transcript")
    assert last["error"]["code"] == "stream_interrupted"
    assert job_url in last["error"]["message"]
    assert job["text"] == "Hello there."


def test_a_disconnect_cancels_the_job_at_once(api: httpx.Client, redis_url: str) -> None:
    record = connect(redis_url)
    with HeldWorker(redis_url) as worker:
        with open_stream(api):
            beat = beat_claim(worker.wait_for_claim(), lease_s=LEASE_S)
            assert record.run(beat) is Directive.GO_ON
        wait_for(lambda: record.run(beat) is Directive.CANCEL, what="the cancel")
        lease = read_listener_lease(redis_url, worker.claims[0].job_id)
        assert lease is not None, "the lease expired first"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"language": "Klingon"}, 400),
        ({"model": "gpt-9"}, 404),
        ({"response_format": "srt"}, 400),
        ({"response_format": "verbose_json"}, 400),
        ({"timestamp_granularities[]": "word"}, 400),
    ],
)
def test_parameters_that_cannot_be_streamed_are_refused_at_once(
    api: httpx.Client, redis_url: str, uploads: Path, fields: dict[str, str], status: int
) -> None:
    with ScriptedWorker(redis_url), open_stream(api, **fields) as answer:
        answer.read()
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert list(uploads.iterdir()) == []


def test_a_file_without_audio_is_refused_before_the_first_byte(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url):
        answer = api.post(URL, files={"file": ("a.wav", b"no audio at all")}, data={"stream": "true"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")


def test_without_a_worker_there_is_no_stream(api: httpx.Client) -> None:
    with open_stream(api) as answer:
        answer.read()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_worker")


def test_without_stream_the_answer_is_no_stream(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        answer = api.post(URL, files=FILES, data={"stream": "false"})
    assert answer.json()["text"] == "Hello there."
