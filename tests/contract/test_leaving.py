"""That a client left is not forgotten, whichever api saw it and whatever becomes of that and of Redis."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import redis
from httpx_sse import connect_sse

from api.settings import ApiSettings
from shared.capabilities import ModelState, WorkerPresence
from shared.jobs import Directive
from shared.record.abandonment import abandon_job
from shared.record.connection import KEY_PREFIX, connect
from shared.record.transitions import beat_claim
from shared.record.workers import announce_worker
from tests.support.api_server import OpenClient, ServeWith, serve_api
from tests.support.audio import make_tones, write_wav
from tests.support.redis_fixture import RedisServer
from tests.support.scripted_worker import CAPABILITIES, LEASE_S, HeldWorker
from tests.support.server import wait_for

SYNC_URL = "/v1/audio/transcriptions"
STREAM_URL = "/v1/audio/transcriptions/stream"
FILES = {"file": ("a.wav", write_wav(make_tones(2)))}
RESUME_S = 1.5


@pytest.fixture
def lasting_settings(session_api: str, mortal_redis: RedisServer, tmp_path: Path) -> ApiSettings:
    """Settings of an api whose Redis can be killed, and which takes jobs for a worker that never looks."""
    connect(mortal_redis.url).run(
        announce_worker(WorkerPresence("hand", CAPABILITIES, ModelState.READY, "cpu"))
    )
    return ApiSettings(redis_url=mortal_redis.url, data_dir=tmp_path, stream_resume_s=RESUME_S)


@contextmanager
def waiting_client(url: str, path: str, **fields: str) -> Iterator[socket.socket]:
    """A connection on which a transcription was asked for, and nothing is read."""
    request = httpx.Request("POST", url + path, files=FILES, data=fields)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection((request.url.host, request.url.port or 80), timeout=30) as client:
        client.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + request.read())
        yield client


def leave(client: socket.socket) -> None:
    """Hang up; returns when the api has seen that."""
    client.shutdown(socket.SHUT_WR)
    while client.recv(1 << 16):
        pass


def find_job(api: httpx.Client) -> str:
    """The path of the one job there is, once there is one."""
    jobs = wait_for(lambda: api.get("/v1/jobs").json()["data"], what="the job")
    return f"/v1/jobs/{jobs[0]['id']}"


def wait_for_cancel(api: httpx.Client, job_url: str) -> None:
    wait_for(lambda: api.get(job_url).json().get("state") == "cancelled", what="the cancel", within_s=30)


@pytest.mark.full
@pytest.mark.parametrize(
    ("path", "fields"),
    [(SYNC_URL, {}), (SYNC_URL, {"stream": "true"}), (STREAM_URL, {})],
    ids=["sync", "stream=true", "stream"],
)
def test_who_leaves_while_redis_is_away_is_cancelled_when_it_is_back(
    lasting_settings: ApiSettings, mortal_redis: RedisServer, path: str, fields: dict[str, str]
) -> None:
    with serve_api(lasting_settings) as url, httpx.Client(base_url=url, timeout=30) as api:
        with waiting_client(url, path, **fields) as client:
            job_url = find_job(api)
            mortal_redis.kill()
            leave(client)
        mortal_redis.start()
        wait_for_cancel(api, job_url)


@pytest.mark.full
def test_a_stream_that_is_left_is_cancelled_though_its_api_is_gone_by_then(
    lasting_settings: ApiSettings,
) -> None:
    with serve_api(lasting_settings) as url, httpx.Client(base_url=url, timeout=30) as api:
        with waiting_client(url, STREAM_URL) as client:
            job_url = find_job(api)
            leave(client)
        assert api.get(job_url).json()["state"] == "queued"
    with serve_api(lasting_settings) as url, httpx.Client(base_url=url, timeout=30) as api:
        wait_for_cancel(api, job_url)


@pytest.mark.full
def test_a_stream_that_is_left_goes_on_while_it_is_followed_at_another_api(
    serve_with: ServeWith, open_client: OpenClient, redis_url: str
) -> None:
    first, second = (open_client(serve_with(stream_resume_s=RESUME_S, heartbeat_s=0.2).url) for _ in range(2))
    record = connect(redis_url)
    with HeldWorker(redis_url) as worker, ExitStack() as follower:
        with connect_sse(first, "POST", STREAM_URL, files=FILES) as source:
            job_url = f"/v1/jobs/{next(source.iter_sse()).json()['id']}"
            lines = follower.enter_context(second.stream("GET", f"{job_url}/events")).iter_lines()
            assert "event: queued" in lines
        # STREAM_RESUME_S passes several times, as the heartbeats of this very stream show.
        for _ in range(20):
            assert ": heartbeat" in lines
        beat = beat_claim(worker.wait_for_claim(), lease_s=LEASE_S)
        assert record.run(beat) is Directive.GO_ON
        follower.close()
        wait_for(lambda: record.run(beat) is Directive.CANCEL, what="the cancel")


def test_who_comes_back_late_keeps_the_job_from_then_on(
    serve_with: ServeWith, open_client: OpenClient, redis_url: str
) -> None:
    # So long that no other look for followed jobs comes within this test.
    api = open_client(serve_with(stream_resume_s=3_600).url)
    with HeldWorker(redis_url), redis.Redis.from_url(redis_url) as record:
        job_id = api.post("/v1/jobs", files=FILES).json()["id"]
        connect(redis_url).run(abandon_job(job_id, resume_s=60))
        (due_before,) = record.zmscore(f"{KEY_PREFIX}abandoned", [job_id])
        with api.stream("GET", f"/v1/jobs/{job_id}/events"):
            (due_after,) = record.zmscore(f"{KEY_PREFIX}abandoned", [job_id])
    assert due_after - due_before > 3_000_000
