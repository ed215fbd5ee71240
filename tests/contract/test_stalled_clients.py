"""Clients that read nothing cost nothing: their events stay in the log until they are cut."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import psutil
import pytest

from shared.events import Loading
from shared.jobs import Claim, JobState
from shared.record import transitions
from shared.record.connection import connect
from tests.support.api_server import OpenClient, ServeWith
from tests.support.audio import make_tones, write_wav
from tests.support.recorded_jobs import record_job
from tests.support.scripted_worker import LEASE_S, TTL_S, Script, ScriptedWorker
from tests.support.server import RealServer, wait_for
from tests.support.single_claims import claim_job

EVENT_BYTES = 200_000
EVENTS = 100
"""Far more, all in all, than the buffers of two kernels hold."""

SILENT_CLIENTS = 30
RECEIVE_BUFFER_BYTES = 4_096
STALL_S = 0.5


@pytest.fixture(scope="module")
def strict_url(serve_with: ServeWith) -> str:
    """The base URL of a server with room for one stream, which soon cuts who does not read."""
    patience = {"stream_send_timeout_s": STALL_S, "stream_resume_s": STALL_S}
    return serve_with(max_streams=1, heartbeat_s=0.1, **patience).url


@pytest.fixture
def api(strict_url: str, open_client: OpenClient) -> httpx.Client:
    """A client of that server."""
    return open_client(strict_url)


@contextmanager
def silent_client(api: httpx.Client, request: bytes) -> Iterator[socket.socket]:
    """A client that sends a request, and knows that an answer comes, but has read nothing of it."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        client.settimeout(30)
        client.connect((api.base_url.host, api.base_url.port))
        client.sendall(request)
        assert client.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200"
        yield client


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def emit_much(redis_url: str) -> Claim:
    """Fill the log of the first job in the queue, which goes on."""
    record = connect(redis_url)
    claim = record.run(claim_job("w", engine="whisper", model="base", lease_s=LEASE_S))
    assert claim is not None
    for number in range(EVENTS):
        record.run(transitions.emit_event(claim, Loading("x" * EVENT_BYTES, float(number))))
    return claim


def is_full(api: httpx.Client, redis_url: str) -> bool:
    with api.stream("GET", f"{record_job(redis_url)}/events") as answer:
        return answer.status_code == 429


def answers(server: RealServer) -> bool:
    try:
        return server.client.get("/health").is_success
    except httpx.TransportError:
        return False


def is_cut(client: socket.socket) -> bool:
    """Whether the connection was reset before the end of what was sent; reads all of it."""
    try:
        while client.recv(1 << 20):
            pass
    except ConnectionResetError:
        return True
    return False


def test_a_client_that_reads_nothing_is_cut_and_its_slot_is_free(api: httpx.Client, redis_url: str) -> None:
    url = record_job(redis_url)
    with silent_client(api, get(f"{url}/events")) as client:
        wait_for(lambda: is_full(api, redis_url))
        emit_much(redis_url)
        wait_for(lambda: not is_full(api, redis_url))
        assert is_cut(client)


def test_it_is_cut_after_the_last_event_was_written_too(api: httpx.Client, redis_url: str) -> None:
    url = record_job(redis_url)
    claim = emit_much(redis_url)
    connect(redis_url).run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=TTL_S))
    with silent_client(api, get(f"{url}/events")) as client:
        wait_for(lambda: is_full(api, redis_url))
        wait_for(lambda: not is_full(api, redis_url))
        assert is_cut(client)


def test_a_transcription_whose_client_reads_nothing_is_cancelled(api: httpx.Client, redis_url: str) -> None:
    endless = Script(first=[Loading("x" * EVENT_BYTES, 0.0)] * 10_000)
    with ScriptedWorker(redis_url, endless) as worker:
        form = httpx.Request(
            "POST",
            "http://a/v1/audio/transcriptions/stream",
            files={"file": ("a.wav", write_wav(make_tones(2)))},
        )
        head = "".join(f"{name}: {value}\r\n" for name, value in form.headers.items())
        request = f"POST {form.url.path} HTTP/1.1\r\n{head}\r\n".encode() + form.read()
        with silent_client(api, request):
            job_id = worker.wait_for_claim().job_id
            wait_for(lambda: api.get(f"/v1/jobs/{job_id}").json()["state"] == "cancelled")


def test_a_slow_client_gets_every_event_in_order(api: httpx.Client, redis_url: str) -> None:
    url = record_job(redis_url)
    claim = emit_much(redis_url)
    connect(redis_url).run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=TTL_S))
    tired = threading.Event()
    received = bytearray()
    with silent_client(api, get(f"{url}/events")) as client:
        for _ in range(10):
            received += client.recv(EVENT_BYTES)
            tired.wait(STALL_S / 3)
        while b"event: succeeded" not in received[-4_096:]:
            part = client.recv(1 << 16)
            assert part, "the stream ended early"
            received += part
    assert [int(number) for number in re.findall(rb'"elapsed_s":(\d+)', received)] == list(range(EVENTS))


def test_many_stalled_clients_take_no_memory_and_delay_no_other(
    make_server: Callable[..., RealServer],
) -> None:
    server = make_server(STREAM_SEND_TIMEOUT_S="600")
    server.redis.start()
    api = psutil.Process(server.start_api().pid)
    wait_for(lambda: answers(server), what="the start of the api")
    url = record_job(server.redis.url)
    claim = emit_much(server.redis.url)
    connect(server.redis.url).run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=TTL_S))
    assert "event: succeeded" in server.client.get(f"{url}/events").text
    before_bytes = api.memory_info().rss
    with ExitStack() as silent:
        for _ in range(SILENT_CLIENTS):
            silent.enter_context(silent_client(server.client, get(f"{url}/events")))
        assert "event: succeeded" in server.client.get(f"{url}/events").text
        grown_bytes = api.memory_info().rss - before_bytes
    assert grown_bytes < SILENT_CLIENTS * EVENTS * EVENT_BYTES / 10
