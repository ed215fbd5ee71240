"""Stream tokens over real HTTP: they open the events of one job for a limited time, and nothing else."""

import io
import logging

import httpx
import pytest
import redis
import structlog

from shared.record.keys import KEY_PREFIX
from tests.support.api_server import OpenClient, ServeWith
from tests.support.recorded_jobs import record_job
from tests.support.scripted_worker import HeldWorker, ScriptedWorker
from tests.support.server import wait_for

LAB, SHOP = (f"{name}-key-0123456789" for name in ("lab", "shop"))
ORIGIN = "https://app.example.com"
TTL_S = 60.0


@pytest.fixture(scope="module")
def keyed_url(serve_with: ServeWith) -> str:
    """The base URL of an api that asks for keys."""
    keys = f"lab={LAB}, shop={SHOP}"
    return serve_with(api_keys=keys, cors_origins=ORIGIN, heartbeat_s=0.1, stream_token_ttl_s=TTL_S).url


@pytest.fixture
def page(keyed_url: str, open_client: OpenClient) -> httpx.Client:
    """A page of another origin, without a key."""
    return open_client(keyed_url, headers={"Origin": ORIGIN})


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def get_token(client: httpx.Client, url: str, key: str = LAB) -> str:
    answer = client.post(f"{url}/stream-token", headers=bearing(key))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["expires_in_s"] == TTL_S
    assert body["events_url"] == f"{url}/events?token={body['token']}"
    assert answer.headers["cache-control"] == "no-store"
    return str(body["token"])


def test_a_token_follows_its_job_without_a_key_and_again_after_a_cut(
    page: httpx.Client, held_worker: HeldWorker, redis_url: str
) -> None:
    url = record_job(redis_url, key_name="lab")
    followed = f"{url}/events?token={get_token(page, url)}"
    with page.stream("GET", followed) as answer:
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        last_id = next(line for line in answer.iter_lines() if line.startswith("id: "))[4:]
    held_worker.go_on.set()
    rest = page.get(followed, headers={"Last-Event-ID": last_id}).text
    assert "event: queued" not in rest
    assert "event: succeeded" in rest


def test_a_token_opens_nothing_else(page: httpx.Client, redis_url: str) -> None:
    url, other = record_job(redis_url, key_name="lab"), record_job(redis_url, key_name="lab")
    params = {"token": get_token(page, url)}
    refusals = {
        page.get(f"{other}/events", params=params): "invalid_stream_token",
        page.get(url, params=params): "missing_api_key",
        page.delete(url, params=params): "missing_api_key",
        page.get("/v1/jobs", params=params): "missing_api_key",
        page.post(f"{url}/stream-token", params=params): "missing_api_key",
        page.get(f"{url}/events", headers=bearing(params["token"])): "invalid_api_key",
        page.get(f"{url}/events", params=params, headers=bearing("nonsense")): "invalid_api_key",
        page.get(f"{url}/events", params={"token": "nonsense"}): "invalid_stream_token",
        page.get(f"{url}/events", params={"token": ""}): "invalid_stream_token",
    }
    for answer, code in refusals.items():
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, code), answer.url
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert params["token"] not in answer.text


def test_only_the_owner_of_a_job_gets_a_token_for_it(page: httpx.Client, redis_url: str) -> None:
    url = record_job(redis_url, key_name="lab")
    assert page.post(f"{url}/stream-token", headers=bearing(SHOP)).status_code == 404
    assert page.post("/v1/jobs/no/stream-token", headers=bearing(LAB)).status_code == 404
    assert page.post(f"{url}/stream-token").status_code == 401


def test_an_expired_token_begins_no_stream_and_ends_none(
    page: httpx.Client, held_worker: HeldWorker, redis_url: str
) -> None:
    url = record_job(redis_url, key_name="lab")
    followed = f"{url}/events?token={get_token(page, url)}"
    with page.stream("GET", followed) as answer:
        lines = answer.iter_lines()
        assert "event: queued" in lines
        with redis.Redis.from_url(redis_url) as connection:
            (kept,) = connection.keys(f"{KEY_PREFIX}stream_token:*")
            assert 0 < connection.pttl(kept) <= TTL_S * 1000
            connection.pexpire(kept, 1)
            wait_for(lambda: not connection.exists(kept))
        assert page.get(followed).json()["error"]["code"] == "invalid_stream_token"
        held_worker.go_on.set()
        assert "event: succeeded" in lines


def test_redis_never_sees_a_token(page: httpx.Client, redis_url: str) -> None:
    url = record_job(redis_url, key_name="lab")
    with redis.Redis.from_url(redis_url) as connection, connection.monitor() as monitor:
        token = get_token(page, url)
        assert page.get(f"{url}/events", params={"token": token, "last_event_id": "no"}).status_code == 400
        connection.publish("the end", "")
        seen = ""
        while "the end" not in seen:
            seen += str(monitor.next_command())
    assert "stream_token" in seen
    assert token not in seen


def test_the_events_of_a_job_are_gone_after_its_ttl(
    page: httpx.Client, held_worker: HeldWorker, redis_url: str
) -> None:
    url = record_job(redis_url, key_name="lab")
    token = get_token(page, url)
    held_worker.go_on.set()
    assert "event: succeeded" in page.get(f"{url}/events?token={token}").text
    with redis.Redis.from_url(redis_url) as connection:
        job_id = url.rpartition("/")[2]
        connection.delete(
            *(f"{KEY_PREFIX}{part}:{job_id}" for part in ("job", "log", "segments", "warnings"))
        )
    for answer in (
        page.get(f"{url}/events?token={token}"),
        page.post(f"{url}/stream-token", headers=bearing(LAB)),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (410, "job_gone"), answer.text


def test_an_open_server_takes_what_a_page_sends_to_any_server(api: httpx.Client, redis_url: str) -> None:
    with ScriptedWorker(redis_url):
        url = record_job(redis_url)
        token = api.post(f"{url}/stream-token").json()["token"]
        assert "event: succeeded" in api.get(f"{url}/events", params={"token": token}).text


def test_no_log_shows_a_token(page: httpx.Client, redis_url: str) -> None:
    url = record_job(redis_url, key_name="lab")
    token = get_token(page, url)
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    access = logging.getLogger("uvicorn.access")
    access.addHandler(handler)
    access.setLevel(logging.INFO)
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.WriteLoggerFactory(written),
        cache_logger_on_first_use=False,
    )
    try:
        for query in (f"token={token}", f"x=1&%74oken={token}&y=2", f"token={token}&token={token}x"):
            for path in (f"{url}/events", url, "/nothing", "/v1/jobs/no/events"):
                httpx.get(f"{page.base_url}{path}?{query}&last_event_id=no")
    finally:
        structlog.configure(**before)
        access.removeHandler(handler)
        access.setLevel(logging.NOTSET)
    assert "request_served" in written.getvalue()
    assert f'"GET {url}/events?last_event_id=no HTTP/1.1" 400' in written.getvalue()
    assert token not in written.getvalue()
