"""Audio by URL over real HTTP: fetched into the store from permitted addresses, or refused without trace."""

import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from tests.support.api_server import MAX_UPLOAD_BYTES, OpenClient, ServedApi, ServeWith, empty_folder
from tests.support.hostile_source import AUDIO, HostileSource
from tests.support.names import SILENT_DOMAIN, StandInNames
from tests.support.scripted_worker import ScriptedWorker
from tests.support.server import wait_for

URL = "/v1/jobs"
FROM_ANYWHERE = {"url_input": True, "allow_private_addresses": True}

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture(scope="module")
def fetching_api(serve_with: ServeWith) -> ServedApi:
    """An api that fetches from anywhere."""
    return serve_with(max_upload_bytes=MAX_UPLOAD_BYTES, **FROM_ANYWHERE)


@pytest.fixture
def endpoint(fetching_api: ServedApi, open_client: OpenClient) -> httpx.Client:
    return open_client(fetching_api.url)


@pytest.fixture
def stored(fetching_api: ServedApi) -> Path:
    """The folder of its uploads, empty at first."""
    return empty_folder(fetching_api.uploads)


@pytest.fixture
def source() -> Iterator[HostileSource]:
    with HostileSource() as source:
        yield source


@contextmanager
def ask_without_waiting(
    client: httpx.Client, url: str, headers: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Within the block a job is asked for; then the client leaves, answered or not."""
    body = urlencode({"url": url})
    given = {
        "Host": "a",
        "Content-Type": "application/x-www-form-urlencoded",
        "Content-Length": len(body),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
        connection.sendall(f"POST {URL} HTTP/1.1\r\n{head}\r\n{body}".encode())
        yield


def assert_too_many(answer: httpx.Response, limit: str) -> None:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (429, "too_many_fetches", "url")
    assert limit in error["message"]
    assert answer.headers["retry-after"] == "5"


@pytest.mark.parametrize("name", ["sound.wav", "chunked.wav", "until-close.wav"])
def test_audio_at_a_url_becomes_a_job(
    endpoint: httpx.Client, stored: Path, source: HostileSource, worker: ScriptedWorker, name: str
) -> None:
    answer = endpoint.post(URL, files={"url": (None, f"{source.url}/{name}?token=secret")})

    assert answer.status_code == 202, answer.text
    assert (stored / answer.json()["id"]).read_bytes() == AUDIO
    upload = worker.wait_for_claim().upload
    assert (upload.filename, upload.size_bytes) == (name, len(AUDIO))
    assert "secret" not in answer.text


def test_the_source_gets_one_request_without_client_headers(
    endpoint: httpx.Client, source: HostileSource
) -> None:
    endpoint.post(
        URL,
        data={"url": f"{source.url}/sound.wav"},
        headers={"authorization": "Bearer secret", "cookie": "a=b"},
    )

    ((target, head),) = source.seen
    assert target == "/sound.wav"
    assert "accept-encoding: identity" in head.lower()
    assert "secret" not in head
    assert "cookie" not in head.lower()


@pytest.mark.parametrize("is_multipart", [True, False])
def test_a_form_without_a_file_may_be_multipart_or_urlencoded(
    endpoint: httpx.Client, source: HostileSource, *, is_multipart: bool
) -> None:
    fields = {"url": f"{source.url}/sound.wav", "language": "en", "priority": "interactive"}
    answer = (
        endpoint.post(URL, files={name: (None, value) for name, value in fields.items()})
        if is_multipart
        else endpoint.post(URL, data=fields)
    )

    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("missing.wav", "url_failed", "404"),
        ("broken.wav", "url_failed", "503"),
        ("part.wav", "url_failed", "206"),
        ("moved.wav", "url_failed", "redirects are not followed"),
        ("gzip.wav", "url_failed", "compressed"),
        ("garbage.wav", "url_failed", "not HTTP"),
        ("empty.wav", "url_failed", "0 bytes"),
        ("says-more.wav", "url_failed", "cut"),
        ("says-no-number.wav", "url_failed", "not HTTP"),
        ("reset.wav", "url_failed", "cut"),
        ("endless-head.wav", "url_failed", "not HTTP"),
        ("says-less.wav", "audio_undecodable", ""),
        ("text.wav", "audio_undecodable", ""),
    ],
)
def test_a_source_without_audio_is_reported(
    endpoint: httpx.Client, source: HostileSource, name: str, code: str, message: str
) -> None:
    answer = endpoint.post(URL, data={"url": f"{source.url}/{name}"})

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, "url")
    assert message in error["message"]
    assert source.targets() == [f"/{name}"]


@pytest.mark.parametrize("name", ["says-too-much.wav", "endless.wav", "endless-chunks.wav"])
def test_a_source_that_sends_too_much_is_cut_off(
    endpoint: httpx.Client, source: HostileSource, name: str
) -> None:
    answer = endpoint.post(URL, data={"url": f"{source.url}/{name}"})

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (413, "upload_too_large", "url")
    assert "MAX_UPLOAD_BYTES" in error["message"]
    assert source.left.wait(10)


@pytest.mark.parametrize("name", ["missing.wav", "reset.wav", "says-more.wav", "text.wav", "endless.wav"])
def test_refused_audio_leaves_no_file(
    endpoint: httpx.Client, stored: Path, source: HostileSource, name: str
) -> None:
    assert endpoint.post(URL, data={"url": f"{source.url}/{name}"}).is_client_error
    assert list(stored.iterdir()) == []


@pytest.mark.parametrize("name", ["silent.wav", "stalls.wav"])
def test_a_silent_source_is_cut_off(
    endpoint: httpx.Client, stored: Path, source: HostileSource, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("api.intake.audio_fetch.IDLE_S", 0.2)

    answer = endpoint.post(URL, data={"url": f"{source.url}/{name}"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "url_failed")
    assert "0.2 s" in answer.json()["error"]["message"]
    assert source.left.wait(10)
    assert list(stored.iterdir()) == []


def test_hanging_look_ups_do_not_delay_other_urls(endpoint: httpx.Client, source: HostileSource) -> None:
    with StandInNames() as names, ThreadPoolExecutor(12) as clients:
        urls = [f"http://a{count}.{SILENT_DOMAIN}/" for count in range(12)]
        hanging = [clients.submit(endpoint.post, URL, data={"url": url}) for url in urls]
        names.wait_for(5)
        answer = endpoint.post(URL, data={"url": f"{source.url.replace('127.0.0.1', 'localhost')}/sound.wav"})
        assert answer.status_code == 202
        assert not any(asked.done() for asked in hanging)
        names.release()
    assert {asked.result().json()["error"]["code"] for asked in hanging} == {"url_refused"}


def test_an_unreachable_source_is_reported(endpoint: httpx.Client, source: HostileSource) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        answer = endpoint.post(URL, data={"url": f"http://127.0.0.1:{unused.getsockname()[1]}/a.wav"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "url_unreachable")


def test_a_slow_source_has_a_total_time_limit(
    serve_with: ServeWith, open_client: OpenClient, source: HostileSource
) -> None:
    hasty = serve_with(url_fetch_timeout_s=0.4, **FROM_ANYWHERE)
    answer = open_client(hasty.url).post(URL, data={"url": f"{source.url}/trickles.wav"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "url_failed")
    assert "URL_FETCH_TIMEOUT_S" in answer.json()["error"]["message"]
    assert list(hasty.uploads.iterdir()) == []


def test_one_fetch_more_than_the_limit_gets_429(
    serve_with: ServeWith, open_client: OpenClient, source: HostileSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.intake.audio_fetch.PATIENCE_S", 0.2)
    narrow = serve_with(max_url_fetches=2, max_url_fetches_per_key=1, **FROM_ANYWHERE)
    client = open_client(narrow.url)
    with ExitStack() as waiting:
        for _ in range(2):
            waiting.enter_context(ask_without_waiting(client, f"{source.url}/silent.wav"))
        wait_for(lambda: len(source.seen) == 2)
        refused = client.post(URL, data={"url": f"{source.url}/sound.wav"})

    assert_too_many(refused, "MAX_URL_FETCHES)")
    assert len(source.seen) == 2
    wait_for(lambda: client.post(URL, data={"url": f"{source.url}/sound.wav"}).status_code == 202)


def test_an_api_key_has_a_share_of_the_fetches(
    serve_with: ServeWith, open_client: OpenClient, source: HostileSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.intake.audio_fetch.PATIENCE_S", 0.2)
    keys = {name: f"{name}-key-0123456789" for name in ("lab", "shop")}
    limits = {"max_url_fetches_per_key": 1, "api_keys": ",".join(map("=".join, keys.items()))}
    client = open_client(serve_with(**limits, **FROM_ANYWHERE).url)
    lab, shop = ({"Authorization": f"Bearer {key}"} for key in keys.values())
    wanted = {"url": f"{source.url}/sound.wav"}
    with ask_without_waiting(client, f"{source.url}/silent.wav", lab):
        wait_for(lambda: source.seen)
        refused = client.post(URL, data=wanted, headers=lab)
        assert client.post(URL, data=wanted, headers=shop).status_code == 202

    assert_too_many(refused, "MAX_URL_FETCHES_PER_KEY)")


def test_a_waiting_fetch_gets_the_next_free_slot(
    serve_with: ServeWith, open_client: OpenClient, source: HostileSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.intake.audio_fetch.PATIENCE_S", 60)
    client = open_client(serve_with(max_url_fetches=1, **FROM_ANYWHERE).url)
    with ThreadPoolExecutor(8) as clients:
        answers = list(
            clients.map(lambda _: client.post(URL, data={"url": f"{source.url}/sound.wav"}), range(8))
        )

    assert [answer.status_code for answer in answers] == [202] * 8


def test_a_fetch_waits_for_a_slot_for_half_its_time_at_most(
    serve_with: ServeWith, open_client: OpenClient, source: HostileSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.intake.audio_fetch.PATIENCE_S", 60)
    client = open_client(serve_with(max_url_fetches=2, url_fetch_timeout_s=1, **FROM_ANYWHERE).url)
    wanted = {"url": f"{source.url}/silent.wav"}
    with ThreadPoolExecutor(10) as clients:
        answers = list(clients.map(lambda _: client.post(URL, data=wanted), range(10)))

    codes = [answer.json()["error"]["code"] for answer in answers]
    assert set(codes) == {"url_failed", "too_many_fetches"}
    assert codes.count("url_failed") == len(source.seen), "who is told that it did not come was not refused"


def test_private_addresses_are_refused_unless_allowed(
    serve_with: ServeWith, open_client: OpenClient, source: HostileSource
) -> None:
    careful = serve_with(url_input=True)
    client = open_client(careful.url)
    port = source.url.rpartition(":")[2]
    hosts = ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "no-such-host.invalid")
    errors = [
        client.post(URL, data={"url": f"http://{host}:{port}/sound.wav"}).json()["error"] for host in hosts
    ]

    assert {(error["code"], error["param"]) for error in errors} == {("url_refused", "url")}
    assert len({error["message"] for error in errors}) == 1
    assert source.seen == []
    assert list(careful.uploads.iterdir()) == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.com/a.wav", "http://a:b@example.com/"])
def test_a_url_of_another_kind_is_refused(endpoint: httpx.Client, url: str) -> None:
    answer = endpoint.post(URL, data={"url": url})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "url_refused")


def test_a_file_and_a_url_or_neither_are_refused(
    endpoint: httpx.Client, stored: Path, source: HostileSource
) -> None:
    url = f"{source.url}/sound.wav"
    both = endpoint.post(URL, files={"file": ("a.wav", AUDIO)}, data={"url": url})
    neither = endpoint.post(URL, data={"language": "en"})
    empty = endpoint.post(URL, data={"url": " "})

    assert [answer.status_code for answer in (both, neither, empty)] == [400] * 3
    assert both.json()["error"]["param"] == "url"
    assert "or its address" in neither.json()["error"]["message"]
    assert neither.json()["error"]["param"] == "file"
    assert source.seen == []
    assert list(stored.iterdir()) == []


def test_a_server_without_url_input_refuses_urls(
    api: httpx.Client, uploads: Path, source: HostileSource
) -> None:
    answer = api.post(URL, data={"url": f"{source.url}/sound.wav"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "url_input_off")
    assert source.seen == []


def test_other_endpoints_take_no_url(endpoint: httpx.Client, source: HostileSource) -> None:
    for path in ("/v1/audio/transcriptions", "/v1/audio/transcriptions/stream"):
        answer = endpoint.post(path, files={"url": (None, f"{source.url}/sound.wav")})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
    assert source.seen == []


def test_an_invalid_form_is_refused_before_the_fetch(endpoint: httpx.Client, source: HostileSource) -> None:
    url = f"{source.url}/sound.wav"
    assert endpoint.post(URL, data={"url": url, "language": "Klingon"}).status_code == 400
    assert endpoint.post(URL, data={"url": url, "model": "other"}).status_code == 404
    assert source.seen == []


def test_the_same_key_fetches_once_and_another_url_is_another_request(
    endpoint: httpx.Client, stored: Path, source: HostileSource
) -> None:
    key = {"Idempotency-Key": "one"}
    first = endpoint.post(URL, data={"url": f"{source.url}/sound.wav"}, headers=key)
    again = endpoint.post(URL, data={"url": f"{source.url}/sound.wav"}, headers=key)
    other = endpoint.post(URL, data={"url": f"{source.url}/chunked.wav"}, headers=key)

    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert other.status_code == 422
    assert source.targets() == ["/sound.wav"]
    assert {path.stem for path in stored.iterdir()} == {first.json()["id"]}


@pytest.mark.parametrize("name", ["silent.wav", "stalls.wav"])
def test_a_disconnect_ends_the_fetch(
    endpoint: httpx.Client, stored: Path, source: HostileSource, name: str
) -> None:
    with ask_without_waiting(endpoint, f"{source.url}/{name}"):
        wait_for(lambda: source.seen)

    assert source.left.wait(10)
    wait_for(lambda: not list(stored.iterdir()))


def test_a_full_disk_is_reported_and_leaves_no_file(
    endpoint: httpx.Client, stored: Path, source: HostileSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(descriptor: int, data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("shared.upload_store.os.write", write)
        answer = endpoint.post(URL, data={"url": f"{source.url}/sound.wav"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "storage_full")
    assert list(stored.iterdir()) == []
