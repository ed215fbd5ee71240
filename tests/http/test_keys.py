"""API keys over real HTTP: requests without a key are refused, and a key sees its own jobs only."""

import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.api_server import MAX_UPLOAD_BYTES, OpenClient, ServedApi, ServeWith
from tests.support.audio import make_tones, write_wav
from tests.support.hostile_files import write_silent_flac
from tests.support.scripted_worker import HeldWorker
from tests.support.server import wait_for

LAB, SHOP, TIGHT, FEW = (f"{name}-key-0123456789" for name in ("lab", "shop", "tight", "few"))
KEYS = (
    f"lab={LAB}, shop={SHOP}, tight={TIGHT} max_audio_s=1.5 max_upload_bytes=100000, "
    f"few={FEW} max_unfinished_jobs=2, vast=vast-key-0123456789 max_upload_bytes=100000000"
)
AUDIO = write_wav(make_tones(2))
FILES = {"file": ("a.wav", AUDIO)}


@pytest.fixture(scope="module")
def keyed_api(serve_with: ServeWith) -> ServedApi:
    """An api that asks for keys."""
    return serve_with(max_upload_bytes=MAX_UPLOAD_BYTES, api_keys=KEYS)


@pytest.fixture
def keyed(keyed_api: ServedApi, open_client: OpenClient) -> httpx.Client:
    """A client without a key."""
    return open_client(keyed_api.url)


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def submit(client: httpx.Client, key: str) -> str:
    answer = client.post("/v1/jobs", files=FILES, headers=bearing(key))
    assert answer.status_code == 202, answer.text
    return str(answer.headers["location"])


def test_probes_and_documentation_need_no_key(keyed: httpx.Client, held_worker: HeldWorker) -> None:
    for path in ("/health", "/ready", "/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css"):
        assert keyed.get(path).status_code == 200, path


@pytest.mark.parametrize(
    "path", ["/v1/jobs/no", "/v1/audio/transcriptions", "/nothing", "/health/", "/docs/x", "/", "/metrics"]
)
def test_all_other_paths_need_a_key(keyed: httpx.Client, path: str) -> None:
    answer = keyed.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["x-request-id"]
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == (
        "invalid_request_error",
        None,
        "missing_api_key",
    )
    assert "Authorization: Bearer" in error["message"]


@pytest.mark.parametrize(
    "header",
    ["Bearer nonsense", f"Bearer {LAB}x", f"Bearer lab={LAB}", f"Bearer {LAB} {SHOP}", "Bearer \xfc"],
)
def test_a_wrong_key_is_refused_and_not_shown(keyed: httpx.Client, header: str) -> None:
    answer = keyed.get("/v1/jobs/no", headers={b"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert answer.json()["error"]["message"].startswith("Incorrect API key provided.")
    assert not any(word in answer.text for word in ("nonsense", LAB, SHOP))


@pytest.mark.parametrize("header", ["", "Bearer", f"Basic {LAB}", LAB])
def test_only_a_bearer_header_is_a_key(keyed: httpx.Client, header: str) -> None:
    answer = keyed.get("/v1/jobs/no", headers={"Authorization": header})
    assert answer.json()["error"]["code"] == "missing_api_key"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_a_right_key_opens_the_endpoints(keyed: httpx.Client, scheme: str) -> None:
    answer = keyed.get("/v1/jobs/no", headers={"Authorization": f"{scheme} {LAB}"})
    assert answer.json()["error"]["code"] == "job_not_found"


def test_an_upload_is_refused_before_it_is_read(keyed: httpx.Client) -> None:
    port = keyed.base_url.port
    with socket.create_connection(("127.0.0.1", port or 0), timeout=20) as client:
        client.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 401 ")


def test_a_refused_upload_is_answered_and_the_next_request_is_served(
    keyed: httpx.Client, held_worker: HeldWorker
) -> None:
    for size in (10, 60_000, 5_000_000):
        answer = keyed.post("/v1/jobs", files={"file": ("a.wav", bytes(size))})
        assert answer.status_code == 401
        assert submit(keyed, LAB)


def test_a_key_sees_its_own_job(keyed: httpx.Client, held_worker: HeldWorker) -> None:
    url = submit(keyed, LAB)
    assert keyed.get(url, headers=bearing(LAB)).status_code == 200
    held_worker.go_on.set()
    events = keyed.get(f"{url}/events", headers=bearing(LAB))
    assert "event: succeeded" in events.text
    assert keyed.delete(url, headers=bearing(LAB)).status_code == 204


def test_the_job_of_another_key_is_answered_like_an_unknown_job(
    keyed: httpx.Client, held_worker: HeldWorker
) -> None:
    url = submit(keyed, LAB)
    for method, path in (("GET", ""), ("GET", "/events"), ("GET", "/events?last_event_id=x"), ("DELETE", "")):
        foreign = keyed.request(method, f"{url}{path}", headers=bearing(SHOP))
        unknown = keyed.request(method, f"/v1/jobs/{'0' * 32}{path}", headers=bearing(SHOP))
        job_id = url.rpartition("/")[2]
        assert foreign.status_code == unknown.status_code == 404
        assert foreign.text.replace(job_id, "0" * 32) == unknown.text
        assert foreign.headers.keys() == unknown.headers.keys()
    assert keyed.get(url, headers=bearing(LAB)).json()["state"] in {"queued", "running"}


def test_a_job_without_a_key_is_seen_by_no_key(
    keyed: httpx.Client, api: httpx.Client, held_worker: HeldWorker
) -> None:
    of_nobody = api.post("/v1/jobs", files=FILES).headers["location"]
    of_lab = submit(keyed, LAB)
    assert keyed.get(of_nobody, headers=bearing(LAB)).status_code == 404
    assert api.get(of_lab).status_code == 200


def test_a_false_duration_in_a_header_passes_no_limit_of_a_key(
    keyed: httpx.Client, held_worker: HeldWorker
) -> None:
    files = {"file": write_silent_flac(20, declared_samples=16_000)}
    refused = keyed.post("/v1/jobs", files=files, headers=bearing(TIGHT))
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "audio_too_long")


def test_limits_of_a_key_are_its_own(keyed: httpx.Client, held_worker: HeldWorker) -> None:
    too_long = keyed.post("/v1/jobs", files=FILES, headers=bearing(TIGHT))
    assert (too_long.status_code, too_long.json()["error"]["code"]) == (400, "audio_too_long")
    assert "1.5 s" in too_long.json()["error"]["message"]
    too_large = keyed.post("/v1/jobs", files={"file": ("a.wav", bytes(100_001))}, headers=bearing(TIGHT))
    assert (too_large.status_code, too_large.json()["error"]["code"]) == (413, "upload_too_large")
    assert "100000 bytes" in too_large.json()["error"]["message"]
    short = {"file": ("a.wav", write_wav(make_tones(1)))}
    assert keyed.post("/v1/jobs", files=short, headers=bearing(TIGHT)).status_code == 202
    assert submit(keyed, LAB)


def test_a_key_cannot_have_more_than_the_server_allows(keyed: httpx.Client, held_worker: HeldWorker) -> None:
    large = {"file": ("a.wav", bytes(MAX_UPLOAD_BYTES + 1))}
    assert keyed.post("/v1/jobs", files=large, headers=bearing("vast-key-0123456789")).status_code == 413


def test_a_key_has_no_more_unfinished_jobs_than_it_may(keyed: httpx.Client, held_worker: HeldWorker) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(lambda _: keyed.post("/v1/jobs", files=FILES, headers=bearing(FEW)), range(6))
        )
    accepted = [answer for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert (len(accepted), len(refused)) == (2, 4)
    error = refused[0].json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert 1 <= int(refused[0].headers["retry-after"]) <= 60
    assert submit(keyed, LAB)

    held_worker.go_on.set()
    url = accepted[0].headers["location"]
    wait_for(lambda: keyed.get(url, headers=bearing(FEW)).json()["state"] == "succeeded")
    assert submit(keyed, FEW)


def test_a_refused_job_leaves_no_upload(
    keyed: httpx.Client, keyed_api: ServedApi, held_worker: HeldWorker
) -> None:
    for _ in range(2):
        submit(keyed, FEW)
    before = len(list(keyed_api.uploads.iterdir()))
    assert keyed.post("/v1/jobs", files=FILES, headers=bearing(FEW)).status_code == 429
    assert len(list(keyed_api.uploads.iterdir())) == before


def test_the_openapi_document_names_the_scheme_and_its_errors(keyed: httpx.Client, api: httpx.Client) -> None:
    described, without = (client.get("/openapi.json").json() for client in (keyed, api))
    schemes = described["components"]["securitySchemes"]
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    token = schemes["stream_token"]
    assert (token["type"], token["in"], token["name"]) == ("apiKey", "query", "token")
    assert "securitySchemes" not in without["components"]
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            is_open = path in {"/health", "/ready"}
            assert ("401" in operation["responses"]) is not is_open
            assert ("security" in operation) is not is_open
            may_be_full = path.endswith("/events") or (
                method == "post" and not path.endswith("/stream-token")
            )
            assert ("429" in operation["responses"]) is may_be_full
            assert "401" not in without["paths"][path][method]["responses"]
