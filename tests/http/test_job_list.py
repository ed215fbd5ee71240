"""`GET /v1/jobs` over real HTTP: the newest first, in pages, by state, and only those of the caller's key."""

from typing import Any

import httpx
import pytest
import redis

from api.routes import job_list as job_pages
from shared.record import readings
from shared.record.connection import connect
from shared.record.keys import KEY_PREFIX
from shared.record.transitions import forget_jobs
from tests.support.api_server import OpenClient, ServeWith
from tests.support.audio import make_tones, write_wav
from tests.support.scripted_worker import HeldWorker
from tests.support.server import wait_for

LAB, SHOP = "lab-key-0123456789", "shop-key-0123456789"
FILES = {"file": ("talk.wav", write_wav(make_tones(1)))}


@pytest.fixture(scope="module")
def keyed_url(serve_with: ServeWith) -> str:
    """The base URL of an api that asks for keys."""
    return serve_with(api_keys=f"lab={LAB}, shop={SHOP}").url


@pytest.fixture
def lab(keyed_url: str, open_client: OpenClient) -> httpx.Client:
    """A client with one key."""
    return open_client(keyed_url, headers={"Authorization": f"Bearer {LAB}"})


@pytest.fixture
def shop(keyed_url: str, open_client: OpenClient) -> httpx.Client:
    """A client with another key."""
    return open_client(keyed_url, headers={"Authorization": f"Bearer {SHOP}"})


def submit(api: httpx.Client, **fields: str) -> str:
    answer = api.post("/v1/jobs", files=FILES, data=fields)
    assert answer.status_code == 202
    return str(answer.json()["id"])


def read_list(api: httpx.Client, **asked: Any) -> dict[str, Any]:
    answer = api.get("/v1/jobs", params=asked)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def list_ids(api: httpx.Client, **asked: Any) -> list[str]:
    return [job["id"] for job in read_list(api, **asked)["data"]]


def test_where_there_are_no_jobs_the_list_is_empty(api: httpx.Client) -> None:
    assert read_list(api) == {"data": [], "has_more": False, "next_cursor": None}


@pytest.mark.usefixtures("held_worker")
def test_the_newest_job_is_the_first_and_pages_do_not_shift_while_jobs_arrive(api: httpx.Client) -> None:
    submitted = [submit(api) for _ in range(5)]
    first = read_list(api, limit=2)
    assert [job["id"] for job in first["data"]] == submitted[:-3:-1]
    assert first["has_more"]
    later = submit(api)
    second = read_list(api, limit=2, after=first["next_cursor"])
    assert [job["id"] for job in second["data"]] == [submitted[2], submitted[1]]
    last = read_list(api, limit=2, after=second["next_cursor"])
    assert [job["id"] for job in last["data"]] == [submitted[0]]
    assert (last["has_more"], last["next_cursor"]) == (False, None)
    assert list_ids(api) == [later, *reversed(submitted)]


@pytest.mark.usefixtures("held_worker")
def test_a_page_that_is_just_full_is_the_last(api: httpx.Client) -> None:
    submit(api)
    submit(api)
    assert read_list(api, limit=2)["has_more"] is False


@pytest.mark.usefixtures("worker")
def test_a_listed_job_has_everything_but_its_transcript(api: httpx.Client) -> None:
    job_id = submit(api, metadata='{"order": 17}', language="en")
    wait_for(lambda: api.get(f"/v1/jobs/{job_id}").json()["state"] == "succeeded")
    (listed,) = read_list(api)["data"]
    alone = api.get(f"/v1/jobs/{job_id}").json()
    assert listed == {name: alone[name] for name in listed}
    assert "transcript" in set(alone) - set(listed)
    assert (listed["metadata"], listed["language"], listed["filename"]) == ({"order": 17}, "en", "talk.wav")


def test_jobs_can_be_listed_by_their_state(api: httpx.Client, held_worker: HeldWorker) -> None:
    running, waiting, cancelled = (submit(api) for _ in range(3))
    wait_for(lambda: list_ids(api, state="running") == [running])
    api.delete(f"/v1/jobs/{cancelled}")
    assert list_ids(api, state="queued") == [waiting]
    assert list_ids(api, state=["cancelled", "running"]) == [cancelled, running]
    assert list_ids(api, state="failed") == []
    held_worker.go_on.set()
    wait_for(lambda: list_ids(api, state="succeeded") == [waiting, running])


@pytest.mark.usefixtures("held_worker")
def test_rare_jobs_are_found_in_bounded_steps_and_nothing_is_left_out(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    rare = submit(api)
    wait_for(lambda: list_ids(api, state="running") == [rare])
    others = [submit(api) for _ in range(7)]
    monkeypatch.setattr(readings, "MAX_LOOKS", 2)
    monkeypatch.setattr(job_pages, "MAX_READINGS", 2)
    page = read_list(api, state="running")
    assert (page["data"], page["has_more"]) == ([], True)
    page = read_list(api, state="running", after=page["next_cursor"])
    assert ([job["id"] for job in page["data"]], page["has_more"]) == ([rare], True)
    assert read_list(api, state="running", after=page["next_cursor"])["has_more"] is False
    monkeypatch.setattr(job_pages, "MAX_READINGS", 20)
    assert list_ids(api, limit=5) == others[:1:-1]


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", "0"), ("limit", "101"), ("limit", "x"), ("after", "x"), ("after", "-1"), ("state", "done")],
)
def test_invalid_parameters_are_refused(api: httpx.Client, name: str, value: str) -> None:
    answer = api.get("/v1/jobs", params={name: value})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.usefixtures("held_worker")
def test_a_key_lists_its_own_jobs_and_no_others(
    keyed_url: str, lab: httpx.Client, shop: httpx.Client, api: httpx.Client
) -> None:
    jobs: dict[httpx.Client, list[str]] = {lab: [], shop: []}
    for client in (lab, shop, lab):
        jobs[client].insert(0, submit(client))
        assert list_ids(client) == jobs[client]
    nobodys = submit(api)
    assert list_ids(shop) == jobs[shop]
    assert httpx.get(f"{keyed_url}/v1/jobs").status_code == 401
    assert set(list_ids(api)) == {nobodys, *jobs[lab], *jobs[shop]}


@pytest.mark.usefixtures("worker")
def test_deleted_and_expired_jobs_are_not_listed(
    api: httpx.Client, redis_url: str, lab: httpx.Client
) -> None:
    kept, deleted, expired = (submit(lab) for _ in range(3))
    wait_for(lambda: list_ids(lab, state="succeeded") == [expired, deleted, kept])
    lab.delete(f"/v1/jobs/{deleted}")
    with redis.Redis.from_url(redis_url) as connection:
        connection.delete(f"{KEY_PREFIX}job:{expired}")
        assert list_ids(lab) == list_ids(api) == [kept]
        connection.zadd(f"{KEY_PREFIX}kept_until", {f"{expired} lab": 1})
        wait_for(lambda: connection.zcard(f"{KEY_PREFIX}kept_until") == 1)
        for whose in ("all", "key:lab"):
            assert connection.zrange(f"{KEY_PREFIX}listed:{whose}", 0, -1) == [kept.encode()]


@pytest.mark.usefixtures("worker")
def test_a_job_is_gone_to_its_own_key_and_unknown_to_others(
    lab: httpx.Client, shop: httpx.Client, redis_url: str
) -> None:
    job_id = submit(lab)
    wait_for(lambda: list_ids(lab, state="succeeded"))
    with redis.Redis.from_url(redis_url) as connection:
        connection.delete(f"{KEY_PREFIX}job:{job_id}")
    for part in ("", "/transcript", "/events"):
        assert lab.get(f"/v1/jobs/{job_id}{part}").status_code == 410
        assert shop.get(f"/v1/jobs/{job_id}{part}").status_code == 404


def test_forgetting_answers_the_number_of_jobs(redis_url: str) -> None:
    assert connect(redis_url).run(forget_jobs()) == 0


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("state", "done", "'queued', "),
        ("after", "next", "the `next_cursor` of the page before."),
        ("limit", "many", "a whole number."),
    ],
)
def test_a_wrong_parameter_is_named_with_its_value(
    api: httpx.Client, name: str, value: str, wanted: str
) -> None:
    error = api.get("/v1/jobs", params={name: value}).json()["error"]

    assert error["param"] == name
    assert error["message"].startswith(f"{name} is '{value}': it should be {wanted}")


def test_jobs_are_found_by_the_values_of_their_metadata(
    api: httpx.Client, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_pages, "MAX_SIFTED", 2)
    with HeldWorker(redis_url):
        first = submit(api, metadata='{"batch": "a", "order": 17, "is_new": true}')
        others = [submit(api, metadata='{"batch": "b", "order": 17}'), submit(api)]
        last = submit(api, metadata='{"batch": "a", "order": 18}')

        assert list_ids(api, **{"metadata[batch]": "a"}) == [last, first]
        assert list_ids(api, **{"metadata[batch]": "a", "metadata[order]": "17"}) == [first]
        assert list_ids(api, **{"metadata[order]": "17"}) == [others[0], first]
        assert list_ids(api, **{"metadata[is_new]": "true"}) == [first]
        assert list_ids(api, **{"metadata[batch]": "c"}) == []
        page = read_list(api, **{"metadata[batch]": "a"}, limit=1)
        assert [job["id"] for job in page["data"]] == [last]
        rest = read_list(api, **{"metadata[batch]": "a"}, limit=1, after=page["next_cursor"])
        assert ([job["id"] for job in rest["data"]], rest["has_more"]) == ([first], False)


@pytest.mark.parametrize("name", ["metadata", "metadata[]", "metadata[a][b]", "metadata[a"])
def test_a_filter_without_a_plain_key_is_refused(api: httpx.Client, name: str) -> None:
    refused = api.get("/v1/jobs", params={name: "1"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "metadata")
