"""CORS over real HTTP: off unless set, and then on every answer, refusals and failures too."""

import httpx
import pytest

from tests.support.api_server import OpenClient, ServeWith

ORIGIN = "https://app.example.com"
KEY = "lab-key-0123456789"
ASKED = {"Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Stainless-Lang"}


@pytest.fixture(scope="module")
def base_urls(serve_with: ServeWith) -> dict[str, str]:
    """Two servers that ask for keys: one for two origins, one for all."""
    origins = {"some": f"http://localhost:3000, {ORIGIN}", "every": "*"}
    return {name: serve_with(api_keys=f"lab={KEY}", cors_origins=some).url for name, some in origins.items()}


@pytest.fixture(params=["some", "every"])
def cross(request: pytest.FixtureRequest, base_urls: dict[str, str], open_client: OpenClient) -> httpx.Client:
    """A client in a page of an origin that is let in."""
    return open_client(base_urls[request.param], headers={"Origin": ORIGIN})


def preflight(client: httpx.Client, **headers: str) -> httpx.Response:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": ",".join(ASKED)}
    return client.options("/v1/jobs", headers={**asked, **headers})


def test_a_preflight_passes_without_a_key(cross: httpx.Client) -> None:
    answer = preflight(cross)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] in {ORIGIN, "*"}
    assert {"GET", "POST", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert set(answer.headers["access-control-allow-headers"].split(",")) >= ASKED
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["x-request-id"]


def test_every_answer_may_be_read_whatever_its_status(
    cross: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(job_id: str, *, owner: str | None) -> None:
        raise RuntimeError("unforeseen")

    key = {"Authorization": f"Bearer {KEY}"}
    monkeypatch.setattr("api.routes.dependencies.find_job", fail)
    answers = {
        200: cross.get("/health"),
        401: cross.get("/v1/jobs/1"),
        404: cross.get("/nothing", headers=key),
        405: cross.put("/v1/jobs", headers=key),
        500: cross.get("/v1/jobs/1", headers=key),
        503: cross.get("/ready"),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] in {ORIGIN, "*"}, status
        exposed = {name.lower() for name in answer.headers["access-control-expose-headers"].split(", ")}
        assert {"x-request-id", "x-job-id", "retry-after", "location"} <= exposed
        assert "access-control-allow-credentials" not in answer.headers


def test_another_origin_is_refused_in_the_usual_shape(
    base_urls: dict[str, str], open_client: OpenClient
) -> None:
    client = open_client(base_urls["some"], headers={"Origin": "https://evil.example.com"})
    refused = preflight(client)
    assert refused.status_code == 400
    assert "CORS_ORIGINS" in refused.json()["error"]["message"]
    assert refused.headers["x-request-id"]
    for answer in (refused, client.get("/health")):
        assert "access-control-allow-origin" not in answer.headers


def test_it_is_off_by_default(api: httpx.Client) -> None:
    for answer in (preflight(api, Origin=ORIGIN), api.get("/health", headers={"Origin": ORIGIN})):
        assert not [name for name in answer.headers if name.startswith("access-control")]
