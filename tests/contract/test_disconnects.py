"""A job without a listener is cancelled, whatever becomes of the api that served it and of Redis."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from httpx_sse import connect_sse

from api.settings import ApiSettings
from shared.capabilities import ModelState, WorkerPresence
from shared.jobs import Directive, Endpoint, NewJob, Priority, TranscriptionRequest, Upload
from shared.record.admission import submit_job
from shared.record.connection import connect
from shared.record.listeners import RENEWAL_S, choose_lease_s
from shared.record.workers import announce_worker
from tests.support.api_server import OpenClient, ServeWith, serve_api
from tests.support.audio import make_tones, write_wav
from tests.support.recorded_jobs import pass_lease_time, read_listener_lease
from tests.support.redis_fixture import RedisServer
from tests.support.scripted_worker import CAPABILITIES, LEASE_S, HeldWorker
from tests.support.server import wait_for
from tests.support.single_claims import beat_claim

SYNC_URL = "/v1/audio/transcriptions"
STREAM_URL = "/v1/audio/transcriptions/stream"
FILES = {"file": ("a.wav", write_wav(make_tones(2)))}
KEY = {"Idempotency-Key": "k"}
RESUME_S = 1.5
STREAM_LEASE_S = choose_lease_s(Endpoint.STREAM, resume_s=RESUME_S)
SYNC_LEASE_S = choose_lease_s(Endpoint.SYNC, resume_s=RESUME_S)


@pytest.fixture
def lasting_settings(session_api: str, mortal_redis: RedisServer, tmp_path: Path) -> ApiSettings:
    """Settings of an api whose Redis can be killed, with a worker on record that claims no job."""
    connect(mortal_redis.url).run(
        announce_worker(WorkerPresence("hand", CAPABILITIES, ModelState.READY, "cpu"))
    )
    return ApiSettings(redis_url=mortal_redis.url, data_dir=tmp_path, stream_resume_s=RESUME_S)


@contextmanager
def waiting_client(
    url: str, path: str, *, headers: Mapping[str, str] | None = None, fields: Mapping[str, str] | None = None
) -> Iterator[socket.socket]:
    """A connection on which a transcription was asked for, and nothing is read."""
    request = httpx.Request("POST", url + path, files=FILES, data=fields, headers=headers)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection((request.url.host, request.url.port or 80), timeout=30) as client:
        client.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + request.read())
        yield client


def id_of(job_url: str) -> str:
    return job_url.rpartition("/")[2]


def leave(client: socket.socket) -> None:
    """Hang up; returns when the api has seen that."""
    client.shutdown(socket.SHUT_WR)
    while client.recv(1 << 16):
        pass


def find_job(api: httpx.Client) -> str:
    """The path of the one job there is, once there is one."""
    jobs = wait_for(lambda: api.get("/v1/jobs").json()["data"], what="the job")
    return f"/v1/jobs/{jobs[0]['id']}"


def wait_for_renewal(redis_url: str, job_id: str) -> None:
    lease_before = read_listener_lease(redis_url, job_id)
    wait_for(lambda: read_listener_lease(redis_url, job_id) != lease_before, what="the renewal")


def wait_for_cancel(api: httpx.Client, job_url: str) -> None:
    wait_for(lambda: api.get(job_url).json().get("state") == "cancelled", what="the cancel", within_s=30)


@pytest.mark.full
@pytest.mark.parametrize(
    ("path", "fields"),
    [(SYNC_URL, {}), (SYNC_URL, {"stream": "true"}), (STREAM_URL, {})],
    ids=["sync", "stream=true", "stream"],
)
def test_a_client_that_disconnects_while_redis_is_away_has_its_job_cancelled(
    lasting_settings: ApiSettings, mortal_redis: RedisServer, path: str, fields: dict[str, str]
) -> None:
    with serve_api(lasting_settings) as url, httpx.Client(base_url=url, timeout=30) as api:
        with waiting_client(url, path, fields=fields) as client:
            job_url = find_job(api)
            mortal_redis.kill()
            leave(client)
        mortal_redis.start()
        pass_lease_time(mortal_redis.url, SYNC_LEASE_S)
        wait_for_cancel(api, job_url)


@pytest.mark.full
@pytest.mark.parametrize("path", [SYNC_URL, STREAM_URL], ids=["sync", "stream"])
def test_a_client_that_waits_through_an_outage_of_redis_keeps_its_job(
    lasting_settings: ApiSettings, mortal_redis: RedisServer, path: str
) -> None:
    with (
        serve_api(lasting_settings) as url,
        httpx.Client(base_url=url, timeout=30) as api,
        waiting_client(url, path),
    ):
        job_url = find_job(api)
        lease_before = read_listener_lease(mortal_redis.url, id_of(job_url))
        mortal_redis.kill()
        mortal_redis.start()
        wait_for(lambda: read_listener_lease(mortal_redis.url, id_of(job_url)) != lease_before)
        assert api.get(job_url).json()["state"] == "queued"


@pytest.mark.full
def test_a_job_without_a_listener_is_cancelled_though_its_api_is_gone(lasting_settings: ApiSettings) -> None:
    with serve_api(lasting_settings) as url, httpx.Client(base_url=url, timeout=30) as api:
        with waiting_client(url, STREAM_URL) as client:
            job_url = find_job(api)
            leave(client)
        assert api.get(job_url).json()["state"] == "queued"
    with serve_api(lasting_settings) as url, httpx.Client(base_url=url, timeout=30) as api:
        pass_lease_time(lasting_settings.redis_url, STREAM_LEASE_S)
        wait_for_cancel(api, job_url)


@pytest.mark.full
def test_a_stream_without_its_client_goes_on_while_it_is_followed_at_another_api(
    serve_with: ServeWith, open_client: OpenClient, redis_url: str
) -> None:
    first, second = (open_client(serve_with(stream_resume_s=RESUME_S).url) for _ in range(2))
    record = connect(redis_url)
    with HeldWorker(redis_url) as worker, ExitStack() as follower:
        with connect_sse(first, "POST", STREAM_URL, files=FILES) as source:
            job_url = f"/v1/jobs/{next(source.iter_sse()).json()['id']}"
            lines = follower.enter_context(second.stream("GET", f"{job_url}/events")).iter_lines()
            assert "event: queued" in lines
        beat = beat_claim(worker.wait_for_claim(), lease_s=LEASE_S)
        # The lease is renewed twice, each time for longer than it had left.
        for _ in range(2):
            pass_lease_time(redis_url, STREAM_LEASE_S - RENEWAL_S - 1)
            wait_for_renewal(redis_url, id_of(job_url))
            assert record.run(beat) is Directive.GO_ON
        follower.close()
        pass_lease_time(redis_url, STREAM_LEASE_S)
        wait_for(lambda: record.run(beat) is Directive.CANCEL, what="the cancel")


def test_a_client_that_resumes_late_renews_the_lease_at_once(
    serve_with: ServeWith, open_client: OpenClient, redis_url: str
) -> None:
    api = open_client(serve_with().url)
    upload = Upload("7", "a.wav", 10, "ab", 2.0)
    job = NewJob("7", Endpoint.STREAM, Priority.BATCH, upload, TranscriptionRequest())
    connect(redis_url).run(submit_job(job, listener_lease_s=3_600))
    pass_lease_time(redis_url, 3_000)
    lease_before = read_listener_lease(redis_url, "7")
    with api.stream("GET", "/v1/jobs/7/events"):
        lease_after = read_listener_lease(redis_url, "7")
    assert lease_before is not None
    assert lease_after is not None
    assert lease_after - lease_before >= 3_000_000


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/v1/jobs", {}), (SYNC_URL, KEY), (STREAM_URL, KEY)],
    ids=["job", "sync", "stream"],
)
def test_a_job_that_can_be_found_again_needs_no_listener(
    session_api: str, api: httpx.Client, held_worker: HeldWorker, path: str, headers: dict[str, str]
) -> None:
    with waiting_client(session_api, path, headers=headers):
        job_url = find_job(api)
        assert read_listener_lease(held_worker.redis_url, id_of(job_url)) is None


def test_a_stream_that_may_not_resume_is_cancelled_at_once(
    serve_with: ServeWith, open_client: OpenClient, redis_url: str
) -> None:
    api = open_client(serve_with(stream_resume_s=0).url)
    record = connect(redis_url)
    with HeldWorker(redis_url) as worker:
        with connect_sse(api, "POST", STREAM_URL, files=FILES) as source:
            job_url = f"/v1/jobs/{next(source.iter_sse()).json()['id']}"
            beat = beat_claim(worker.wait_for_claim(), lease_s=LEASE_S)
        wait_for(lambda: record.run(beat) is Directive.CANCEL, what="the cancel")
        assert read_listener_lease(redis_url, id_of(job_url)) is not None, "the lease expired first"
