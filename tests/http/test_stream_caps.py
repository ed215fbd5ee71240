"""The limits on open streams, of all endpoints together. A stream too many submits no job."""

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack

import httpx
import pytest
import redis

from shared.events import Loading
from shared.record.keys import KEY_PREFIX
from tests.support.api_server import OpenClient, ServeWith
from tests.support.audio import make_tones, write_wav
from tests.support.recorded_jobs import record_job
from tests.support.scripted_worker import HeldWorker, Script, ScriptedWorker
from tests.support.server import wait_for

FILES = {"file": ("a.wav", write_wav(make_tones(2)))}
MAX_STREAMS = 3
LIMITS = {"max_streams": MAX_STREAMS, "max_streams_per_key": 2, "heartbeat_s": 0.1}
LAB, SHOP = ({"Authorization": f"Bearer {name}-key-0123456789"} for name in ("lab", "shop"))

Endpoint = Callable[[httpx.Client, str], AbstractContextManager[httpx.Response]]


@pytest.fixture(scope="module")
def free_url(serve_with: ServeWith) -> str:
    """The base URL of a server for everybody."""
    return serve_with(**LIMITS).url


@pytest.fixture(scope="module")
def keyed_url(serve_with: ServeWith) -> str:
    """The base URL of a server that asks for keys."""
    return serve_with(**LIMITS, api_keys="lab=lab-key-0123456789, shop=shop-key-0123456789").url


@pytest.fixture
def free(free_url: str, open_client: OpenClient) -> httpx.Client:
    """A client of the server for everybody."""
    return open_client(free_url)


@pytest.fixture
def keyed(keyed_url: str, open_client: OpenClient) -> httpx.Client:
    """A client without a key of the server that asks for one."""
    return open_client(keyed_url)


@pytest.fixture
def held_worker(redis_url: str) -> Iterator[HeldWorker]:
    """A worker that stands still until the test is over."""
    with HeldWorker(redis_url, Script(first=[Loading("weights", 0.0)])) as worker:
        yield worker


def follow_events(client: httpx.Client, redis_url: str) -> AbstractContextManager[httpx.Response]:
    return client.stream("GET", f"{record_job(redis_url)}/events")


def transcribe_as_stream(client: httpx.Client, _redis_url: str) -> AbstractContextManager[httpx.Response]:
    return client.stream("POST", "/v1/audio/transcriptions/stream", files=FILES)


def stream_deltas(client: httpx.Client, _redis_url: str) -> AbstractContextManager[httpx.Response]:
    return client.stream("POST", "/v1/audio/transcriptions", files=FILES, data={"stream": "true"})


ENDPOINTS: tuple[Endpoint, ...] = (follow_events, transcribe_as_stream, stream_deltas)


def is_refused(answer: httpx.Response) -> bool:
    """Whether it is a 200, or the refusal that is expected."""
    if answer.status_code == httpx.codes.OK:
        return False
    answer.read()
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "too_many_streams"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    return True


def jobs_on_record(redis_url: str) -> set[bytes]:
    with redis.Redis.from_url(redis_url) as connection:
        return set(connection.scan_iter(f"{KEY_PREFIX}job:*"))


def has_room(client: httpx.Client, redis_url: str) -> bool:
    with follow_events(client, redis_url) as answer:
        return not is_refused(answer)


def test_streams_of_all_endpoints_count_together(
    free: httpx.Client, redis_url: str, held_worker: HeldWorker
) -> None:
    with ExitStack() as streams:
        for endpoint in ENDPOINTS:
            assert not is_refused(streams.enter_context(endpoint(free, redis_url)))
        for endpoint in ENDPOINTS:
            with endpoint(free, redis_url) as answer:
                assert is_refused(answer)
    wait_for(lambda: has_room(free, redis_url))


@pytest.mark.parametrize("endpoint", [transcribe_as_stream, stream_deltas])
def test_a_refused_stream_submits_nothing(
    free: httpx.Client, redis_url: str, held_worker: HeldWorker, endpoint: Endpoint
) -> None:
    with ExitStack() as streams:
        for _ in range(MAX_STREAMS):
            assert not is_refused(streams.enter_context(follow_events(free, redis_url)))
        before = jobs_on_record(redis_url)
        with endpoint(free, redis_url) as answer:
            assert is_refused(answer)
            assert "x-job-id" not in answer.headers
        assert jobs_on_record(redis_url) == before
    wait_for(lambda: has_room(free, redis_url))


def test_a_stream_that_ended_or_never_began_holds_no_slot(free: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url):
        for _ in range(2 * MAX_STREAMS):
            with transcribe_as_stream(free, redis_url) as answer:
                assert not is_refused(answer)
                assert '"done":true' in answer.read().decode()
            for endpoint in ("", "/stream"):
                asked = {"stream": "true", "language": "Klingon"}
                refused = free.post(f"/v1/audio/transcriptions{endpoint}", files=FILES, data=asked)
                assert refused.status_code == 400
    url = record_job(redis_url)
    free.delete(url)
    last_id = free.get(f"{url}/events").text.rpartition("id: ")[2].split()[0]
    with ExitStack() as streams:
        for _ in range(MAX_STREAMS):
            assert not is_refused(streams.enter_context(follow_events(free, redis_url)))
        assert free.get(f"{url}/events", params={"last_event_id": last_id}).status_code == 204
    wait_for(lambda: has_room(free, redis_url))


def test_a_key_has_its_share_and_its_stream_tokens_count_for_it(
    keyed: httpx.Client, redis_url: str, held_worker: HeldWorker
) -> None:
    url = record_job(redis_url, key_name="lab")
    token = keyed.post(f"{url}/stream-token", headers=LAB).json()["token"]
    with ExitStack() as streams:
        for given in ({"headers": LAB}, {"params": {"token": token}}):
            answer = streams.enter_context(keyed.stream("GET", f"{url}/events", **given))
            assert not is_refused(answer)
        for given in ({"headers": LAB}, {"params": {"token": token}}):
            refused = keyed.get(f"{url}/events", **given)
            assert is_refused(refused)
            assert "MAX_STREAMS_PER_KEY" in refused.text
        of_shop = record_job(redis_url, key_name="shop")
        with keyed.stream("GET", f"{of_shop}/events", headers=SHOP) as answer:
            assert not is_refused(answer)


def test_a_stream_is_refused_before_its_file_has_arrived(
    free: httpx.Client, redis_url: str, held_worker: HeldWorker
) -> None:
    parts = (
        b'--x\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF'
    )
    head = (
        b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    with ExitStack() as streams:
        for _ in range(MAX_STREAMS):
            assert not is_refused(streams.enter_context(follow_events(free, redis_url)))
        address = (free.base_url.host, free.base_url.port or 0)
        with socket.create_connection(address, timeout=30) as client:
            client.sendall(head + parts)
            answer = b""
            while b"too_many_streams" not in answer:
                received = client.recv(65_536)
                assert received, answer
                answer += received
    assert answer.startswith(b"HTTP/1.1 429 ")
    wait_for(lambda: has_room(free, redis_url))
