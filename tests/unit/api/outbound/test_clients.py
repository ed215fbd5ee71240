"""The client for URLs that clients name: what it connects to, and what it never does."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import httpcore
import httpx
import pytest

from api.errors.urls import Refusal, UrlRefused
from api.outbound.clients import GuardedNetwork, SocketOption, open_guarded_async_client
from api.outbound.urls import UrlRule

PUBLIC, OTHER_PUBLIC, PRIVATE = "8.8.8.8", "2606:4700::1111", "127.0.0.1"
ANSWER = [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]
RULE = UrlRule(allow_private=False, param="url")


class RecordingNetwork(httpcore.AsyncMockBackend):
    """Answers every connection, and remembers where to, and under which name TLS began."""

    def __init__(self, silent: Sequence[str] = ()) -> None:
        super().__init__(ANSWER)
        self.connected: list[str] = []
        self.names: list[str | None] = []
        self.timeouts: list[float | None] = []
        self._silent = silent

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - so httpcore asks
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.connected.append(host)
        self.timeouts.append(timeout)
        if host in self._silent:
            raise httpcore.ConnectTimeout
        return NamedStream(self.names)


class NamedStream(httpcore.AsyncMockStream):
    """A connection that notes under which name TLS begins."""

    def __init__(self, names: list[str | None]) -> None:
        super().__init__(list(ANSWER))
        self._names = names

    async def start_tls(
        self,
        ssl_context: object,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - so httpcore asks
    ) -> httpcore.AsyncNetworkStream:
        assert ssl_context
        self._names.append(server_hostname)
        return self


class Resolver:
    """Gives one list of addresses after another, and the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


async def fetch(*urls: str, resolve: Resolver, network: RecordingNetwork, connect_s: float = 8.0) -> None:
    guarded = GuardedNetwork(RULE, resolve, backend=network)
    async with httpcore.AsyncConnectionPool(network_backend=guarded, max_keepalive_connections=0) as pool:
        for url in urls:
            answer = await pool.request("GET", url, extensions={"timeout": {"connect": connect_s}})
            assert answer.status == 200


def open_client(*, allow_private: bool = True, param: str = "url") -> httpx.AsyncClient:
    return open_guarded_async_client(UrlRule(allow_private, param), timeout_s=5)


async def test_the_address_that_was_checked_is_connected_to_under_the_name_of_the_host() -> None:
    resolve, network = Resolver([PUBLIC], [PRIVATE]), RecordingNetwork()

    await fetch("https://example.com/a.wav", resolve=resolve, network=network)

    assert resolve.asked == ["example.com"]
    assert network.connected == [PUBLIC]
    assert network.names == ["example.com"]


async def test_a_host_that_becomes_private_is_refused_at_its_next_request() -> None:
    network = RecordingNetwork()

    with pytest.raises(UrlRefused):
        await fetch(*["http://example.com/"] * 2, resolve=Resolver([PUBLIC], [PRIVATE]), network=network)

    assert network.connected == [PUBLIC]


@pytest.mark.parametrize("addresses", [[PRIVATE], [PUBLIC, PRIVATE], [PRIVATE, PUBLIC], ["::1"]])
async def test_one_address_that_is_not_public_spoils_a_host(addresses: list[str]) -> None:
    network = RecordingNetwork()

    with pytest.raises(UrlRefused) as caught:
        await fetch("http://example.com/", resolve=Resolver(addresses), network=network)

    assert caught.value.reason is Refusal.PRIVATE
    assert network.connected == []


async def test_the_next_address_is_tried_where_one_is_silent_within_the_same_time() -> None:
    network = RecordingNetwork(silent=[OTHER_PUBLIC])

    await fetch("http://example.com/", resolve=Resolver([OTHER_PUBLIC, PUBLIC]), network=network)

    assert network.connected == [OTHER_PUBLIC, PUBLIC]
    first_s, second_s = (timeout or 0.0 for timeout in network.timeouts)
    assert first_s <= 4.0
    assert second_s <= 8.0


async def test_a_host_none_of_whose_addresses_answers_is_no_refusal() -> None:
    network = RecordingNetwork(silent=[OTHER_PUBLIC, PUBLIC])

    with pytest.raises(httpcore.ConnectTimeout):
        await fetch("http://example.com/", resolve=Resolver([OTHER_PUBLIC, PUBLIC]), network=network)


async def test_a_lookup_that_takes_too_long_is_given_up() -> None:
    class Silent(Resolver):
        async def __call__(self, host: str) -> Sequence[str]:
            await asyncio.Event().wait()
            return await super().__call__(host)

    with pytest.raises(UrlRefused) as caught:
        await fetch(
            "http://example.com/", resolve=Silent([PUBLIC]), network=RecordingNetwork(), connect_s=0.05
        )

    assert caught.value.reason is Refusal.UNRESOLVED


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "0", "127.1"]
)
async def test_this_machine_is_refused_however_it_is_written(host: str, server: "Server") -> None:
    async with open_client(allow_private=False, param="webhook_url") as guarded:
        with pytest.raises(UrlRefused) as caught:
            await guarded.get(f"http://{host}:{server.port}/")

    assert caught.value.param == "webhook_url"
    assert server.seen == []


@pytest.mark.parametrize(
    "url",
    [
        "http:///",
        f"http://{'a' * 64}.example/",
        "http://no-such-host.invalid/",
        "ftp://example.com/",
        "http://user:secret@example.com/",
    ],
)
async def test_a_url_that_leads_nowhere_is_refused_with_each_request(
    url: str, client: httpx.AsyncClient
) -> None:
    with pytest.raises(UrlRefused):
        await client.get(url)


async def test_a_private_server_is_asked_where_that_is_allowed(
    client: httpx.AsyncClient, server: "Server"
) -> None:
    assert (await client.get(server.url)).text == "here"


async def test_no_redirect_is_followed_and_no_cookie_kept(
    client: httpx.AsyncClient, server: "Server"
) -> None:
    assert (await client.get(f"{server.url}elsewhere")).status_code == 302
    await client.get(server.url)

    assert [path for path, _ in server.seen] == ["/elsewhere", "/"]
    assert "Cookie" not in server.seen[-1][1]


async def test_proxies_and_netrc_of_the_environment_do_not_matter(
    server: "Server", monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async with open_client() as guarded:
        assert (await guarded.get(server.url)).text == "here"

    assert "Authorization" not in server.seen[0][1]
    assert server.seen[0][1]["Accept-Encoding"] == "identity"


async def test_a_server_that_is_not_there_is_no_refusal(client: httpx.AsyncClient, server: "Server") -> None:
    server.stop()

    with pytest.raises(httpx.ConnectError):
        await client.get(server.url)


class Server:
    """A web server on loopback, and what it was asked."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        handler = type("Handler", (_Handler,), {"seen": self.seen})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    seen: ClassVar[list[tuple[str, dict[str, str]]]]

    def do_GET(self) -> None:
        self.seen.append((self.path, dict(self.headers.items())))
        is_elsewhere = self.path == "/elsewhere"
        self.send_response(302 if is_elsewhere else 200)
        if is_elsewhere:
            self.send_header("Location", "/")
            self.send_header("Set-Cookie", "a=b; Path=/")
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"here")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client() as opened:
        yield opened
