"""The `webhook_url` that a new job may have."""

import httpx
import pytest

from tests.support.api_server import OpenClient, ServeWith
from tests.support.audio import make_tones, write_wav
from tests.support.receiver import SECRET

FILE = write_wav(make_tones(1))
KEYS = f"lab=k3y-0123456789abcdef webhook_secret={SECRET},shop=k3y-fedcba9876543210"

pytestmark = pytest.mark.usefixtures("held_worker")


@pytest.fixture(scope="module")
def signing_url(serve_with: ServeWith) -> str:
    """The base URL of an api that can sign."""
    return serve_with(webhook_secret=SECRET).url


@pytest.fixture
def signing_api(signing_url: str, open_client: OpenClient) -> httpx.Client:
    """A client of that api."""
    return open_client(signing_url)


def submit(client: httpx.Client, url: str, **headers: str) -> httpx.Response:
    return client.post("/v1/jobs", files={"file": FILE}, data={"webhook_url": url}, headers=headers)


def test_a_public_url_is_accepted_and_not_yet_looked_up(signing_api: httpx.Client) -> None:
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


def test_a_url_that_is_not_public_is_refused_at_once(signing_api: httpx.Client) -> None:
    for url in REFUSED:
        answer = submit(signing_api, url)
        assert answer.status_code == 400, (url, answer.text)
        error = answer.json()["error"]
        assert error["param"] == "webhook_url"
        assert "passw0rd" not in error["message"]
    assert signing_api.get("/v1/jobs").json()["data"] == []


def test_a_webhook_is_refused_without_a_secret(api: httpx.Client) -> None:
    answer = submit(api, "https://example.com/")
    assert answer.status_code == 400
    assert "WEBHOOK_SECRET" in answer.json()["error"]["message"]


def test_the_secret_of_an_api_key_suffices_for_its_jobs(
    serve_with: ServeWith, open_client: OpenClient
) -> None:
    client = open_client(serve_with(api_keys=KEYS).url)
    lab = submit(client, "https://example.com/", Authorization="Bearer k3y-0123456789abcdef")
    shop = submit(client, "https://example.com/", Authorization="Bearer k3y-fedcba9876543210")
    assert (lab.status_code, shop.status_code) == (202, 400)
