"""Long transcripts over real HTTP: other requests are answered while one is rendered."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from api.formats import rendering
from api.formats.rendering_threads import LONG_CHARACTERS
from shared.jobs import Failure, FailureCode
from shared.transcripts import Segment, Transcript, compose_transcript
from tests.support.audio import make_tones, write_wav
from tests.support.scripted_worker import Script, ScriptedWorker

FILES = {"file": ("a.wav", write_wav(make_tones(1)))}
URL = "/v1/audio/transcriptions"
LONG_TEXT = "word " * LONG_CHARACTERS
SCRIPT = Script(segments=[Segment(0.0, 1.0, LONG_TEXT, "en")])
WITHIN_S = 20.0

Endpoint = Callable[[httpx.Client, str], httpx.Response]


class HeldRendering:
    """Once `is_on` is set, whatever is rendered stops at its transcript until `go_on` is set."""

    def __init__(self, compose: Callable[..., Transcript]) -> None:
        self._compose = compose
        self.is_on = threading.Event()
        self.has_begun = threading.Semaphore(0)
        self.go_on = threading.Event()

    def compose(self, *given: Any, **named: Any) -> Transcript:
        if self.is_on.is_set():
            self.has_begun.release()
            self.go_on.wait(WITHIN_S)
        return self._compose(*given, **named)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldRendering]:
    """What every rendering of the api stops at."""
    held = HeldRendering(compose_transcript)
    monkeypatch.setattr(rendering, "compose_transcript", held.compose)
    yield held
    held.go_on.set()


def read_as(shape: str) -> Endpoint:
    return lambda api, location: api.get(f"{location}/transcript", params={"format": shape})


def transcribe(url: str, **form: str) -> Endpoint:
    return lambda api, _location: api.post(url, files=FILES, data=form)


def submit_and_wait(api: httpx.Client, _location: str = "") -> httpx.Response:
    return api.post("/v1/jobs", files=FILES, headers={"Prefer": "wait=20"})


ENDPOINTS: dict[str, Endpoint] = {
    "transcript as json": read_as("json"),
    "transcript as srt": read_as("srt"),
    "job": lambda api, location: api.get(location),
    "job that is waited for": submit_and_wait,
    "synchronous call": transcribe(URL, response_format="vtt"),
    "stream for OpenAI's clients": transcribe(URL, stream="true"),
    "stream": transcribe(f"{URL}/stream"),
}


@pytest.mark.parametrize("ask", ENDPOINTS.values(), ids=ENDPOINTS)
def test_others_are_answered_while_a_long_transcript_is_rendered(
    api: httpx.Client, redis_url: str, held: HeldRendering, ask: Endpoint
) -> None:
    with ScriptedWorker(redis_url, SCRIPT), ThreadPoolExecutor() as threads:
        location = submit_and_wait(api).headers["location"]
        held.is_on.set()
        asked = threads.submit(ask, api, location)
        assert held.has_begun.acquire(timeout=WITHIN_S)
        try:
            assert api.get("/health", timeout=WITHIN_S / 2).status_code == 200
            assert not asked.done()
        finally:
            held.go_on.set()
        assert asked.result().status_code == 200
        assert "word word" in asked.result().text


def test_jobs_that_failed_are_polled_while_all_threads_render_long_transcripts(
    api: httpx.Client, redis_url: str, held: HeldRendering
) -> None:
    with ScriptedWorker(redis_url, SCRIPT):
        location = submit_and_wait(api).headers["location"]
    with ScriptedWorker(redis_url, Script(SCRIPT.segments, failure=Failure(FailureCode.TIMEOUT, "late"))):
        failed = submit_and_wait(api).headers["location"]
    held.is_on.set()
    with ThreadPoolExecutor() as threads:
        asked = [threads.submit(read_as("json"), api, location) for _ in range(2)]
        try:
            assert all(held.has_begun.acquire(timeout=WITHIN_S) for _ in asked)
            assert api.get(failed, timeout=WITHIN_S / 2).json()["state"] == "failed"
        finally:
            held.go_on.set()
        assert [answer.result().status_code for answer in asked] == [200, 200]
