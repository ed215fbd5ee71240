"""What `webhook_url` a new job may have."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.settings import ApiSettings
from tests.fakes.api_server import serve_api
from tests.fakes.audio import make_tones, write_wav
from tests.fakes.receiver import SECRET
from tests.fakes.scripted_worker import ScriptedWorker

FILE = write_wav(make_tones(1))
KEYS = f"lab=k3y-0123456789abcdef webhook_secret={SECRET},shop=k3y-fedcba9876543210"


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> ApiSettings:
    """The settings of an api without a secret."""
    return ApiSettings(redis_url=redis_url, data_dir=tmp_path)


@pytest.fixture
def signing_api(settings: ApiSettings) -> Iterator[httpx.Client]:
    """A client of an api that can sign."""
    secret = ApiSettings(webhook_secret=SECRET).webhook_secret
    with (
        serve_api(settings.model_copy(update={"webhook_secret": secret})) as base_url,
        ScriptedWorker(settings.redis_url),
        httpx.Client(base_url=base_url, timeout=30) as client,
    ):
        yield client


def submit(client: httpx.Client, url: str, **headers: str) -> httpx.Response:
    return client.post("/v1/jobs", files={"file": FILE}, data={"webhook_url": url}, headers=headers)


def test_a_public_address_is_taken_and_not_yet_looked_up(signing_api: httpx.Client) -> None:
    answer = submit(signing_api, "https://hooks.no-such-host.example/done?job=1")
    assert answer.status_code == 202, answer.text
    assert signing_api.get(answer.headers["location"]).json()["deliveries"] == []


REFUSED = (
    "ftp://example.com/",
    "example.com/hook",
    "https://name:passw0rd@example.com/",
    "http://127.0.0.1/",
    "http://[::1]:8100/",
    "http://169.254.169.254/latest",
    "http://10.1.2.3/",
    "http://[::ffff:10.1.2.3]/",
    "https://example.com:22/",
    "https:///hook",
)


def test_what_is_no_public_web_address_is_refused_at_once(signing_api: httpx.Client) -> None:
    for url in REFUSED:
        answer = submit(signing_api, url)
        assert answer.status_code == 400, (url, answer.text)
        error = answer.json()["error"]
        assert error["param"] == "webhook_url"
        assert "passw0rd" not in error["message"]
    assert signing_api.get("/v1/jobs").json()["data"] == []


def test_without_a_secret_no_callback_is_promised(settings: ApiSettings) -> None:
    with (
        serve_api(settings) as base_url,
        ScriptedWorker(settings.redis_url),
        httpx.Client(base_url=base_url, timeout=30) as client,
    ):
        answer = submit(client, "https://example.com/")
        assert answer.status_code == 400
        assert "WEBHOOK_SECRET" in answer.json()["error"]["message"]


def test_the_secret_of_an_api_key_is_enough_for_its_jobs(settings: ApiSettings) -> None:
    keys = ApiSettings(api_keys=KEYS).api_keys
    with (
        serve_api(settings.model_copy(update={"api_keys": keys})) as base_url,
        ScriptedWorker(settings.redis_url),
        httpx.Client(base_url=base_url, timeout=30) as client,
    ):
        lab = submit(client, "https://example.com/", Authorization="Bearer k3y-0123456789abcdef")
        shop = submit(client, "https://example.com/", Authorization="Bearer k3y-fedcba9876543210")
    assert (lab.status_code, shop.status_code) == (202, 400)
