"""`python -m api` as a process: it stops at once and lets nobody down, and its death loses no event."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from httpx_sse import ServerSentEvent, connect_sse

from shared.events import Loading
from shared.transcripts import Segment
from tests.support.audio import make_tones, write_wav
from tests.support.recorded_jobs import read_listener_lease
from tests.support.scripted_worker import Script, ScriptedWorker
from tests.support.server import wait_for

AUDIO = {"file": ("a.wav", write_wav(make_tones(2)))}
END_WITHIN_S = 30.0
DEATHS = 3

SCRIPT = Script(
    segments=[Segment(0.0, 1.0, "Hello there.", "en")],
    first=[Loading("weights", float(number)) for number in range(DEATHS)],
)

StartApi = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket that the api inherits, so that callers wait instead of being refused while it restarts."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def start_api(listening: socket.socket, redis_url: str, tmp_path: Path) -> Iterator[StartApi]:
    """Starts api processes on the one socket; what is left of them ends with the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        descriptor = listening.fileno()
        environment = os.environ | {
            "REDIS_URL": redis_url,
            "DATA_DIR": str(tmp_path),
            "LISTEN_FD": str(descriptor),
            "LOG_LEVEL": "WARNING",
        }
        command = [sys.executable, "-P", "-m", "api"]
        processes.append(subprocess.Popen(command, env=environment, pass_fds=[descriptor]))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def client(listening: socket.socket) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=60) as client:
        yield client


def collect(client: httpx.Client, url: str, **headers: str) -> tuple[list[ServerSentEvent], int]:
    """What comes until the stream ends or breaks, and the status."""
    events: list[ServerSentEvent] = []
    try:
        with connect_sse(client, "GET", f"{url}/events", headers=headers) as source:
            if source.response.status_code == httpx.codes.OK:
                events.extend(source.iter_sse())
            return events, source.response.status_code
    except httpx.TransportError:
        return events, 0


def test_it_stops_within_its_grace_and_tells_those_who_wait_where_to_look(
    start_api: StartApi, client: httpx.Client, redis_url: str
) -> None:
    process = start_api()
    go_on = threading.Event()
    with ScriptedWorker(redis_url, SCRIPT, step=go_on.wait) as worker, ThreadPoolExecutor() as others:
        waiting = others.submit(client.post, "/v1/audio/transcriptions", files=AUDIO)
        job_url = f"/v1/jobs/{worker.wait_for_claim().job_id}"
        streaming = others.submit(client.post, "/v1/audio/transcriptions/stream", files=AUDIO)
        following: Future[tuple[list[ServerSentEvent], int]] = others.submit(collect, client, job_url)
        preferring = others.submit(client.post, "/v1/jobs", files=AUDIO, headers={"Prefer": "wait=40"})
        wait_for(lambda: streaming.running() and following.running())
        wait_for(lambda: len(client.get("/v1/jobs").json()["data"]) == 3)
        assert client.get("/health").status_code == 200
        process.send_signal(signal.SIGTERM)
        process.wait(END_WITHIN_S)
        refused = waiting.result()
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "server_stopping"
        assert refused.headers["x-should-retry"] == "false"
        assert f"/v1/jobs/{refused.headers['x-job-id']}" == job_url
        assert following.result()[1] == 200
        assert read_listener_lease(redis_url, refused.headers["x-job-id"]) is None
        assert (preferring.result().status_code, preferring.result().json()["state"]) == (202, "queued")
        go_on.set()
        start_api()
        wait_for(lambda: client.get(job_url).json()["state"] == "succeeded")


@pytest.mark.full
def test_a_listener_that_comes_back_after_each_death_sees_every_event_once_and_in_order(
    start_api: StartApi, client: httpx.Client, redis_url: str
) -> None:
    process = start_api()
    steps = threading.Semaphore(0)
    seen: list[ServerSentEvent] = []
    with ScriptedWorker(redis_url, SCRIPT, step=steps.acquire), ThreadPoolExecutor() as others:
        job_url = client.post("/v1/jobs", files=AUDIO).headers["location"]
        for _ in SCRIPT.first:
            before = client.get(job_url).json()["state"]
            assert before in {"queued", "running"}
            last = {"Last-Event-ID": seen[-1].id} if seen else {}
            following = others.submit(collect, client, job_url, **last)
            steps.release()
            wait_for(following.running)
            process.kill()
            process.wait()
            seen += following.result()[0]
            process = start_api()
        steps.release()
        seen += collect(client, job_url, **({"Last-Event-ID": seen[-1].id} if seen else {}))[0]
        assert collect(client, job_url, **{"Last-Event-ID": seen[-1].id}) == ([], 204)
    assert [event.event for event in seen] == [
        "queued", "started", *["loading"] * DEATHS, "segment", "progress", "succeeded",
    ]  # fmt: skip
    numbers = [event.json()["elapsed_s"] for event in seen if event.event == "loading"]
    assert numbers == [float(number) for number in range(DEATHS)]
