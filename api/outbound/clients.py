"""The HTTP client for URLs that clients name: no private address, redirect, proxy, cookie or secret.

It connects to the very address that was checked, so a second answer of DNS cannot change it. TLS still
verifies the host's name. No connection is kept open between two requests, so each request is checked anew.
"""

import asyncio
import math
import time
from collections.abc import Iterable, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpcore
import httpx

from api.errors.urls import Refusal, UrlRefused
from api.outbound.resolution import UNRESOLVED, HostLookups, Resolve
from api.outbound.urls import UrlRule

# No compressed answers: their size after decompression is unknown.
_HEADERS = {"User-Agent": "qwen3-asr-server", "Accept-Encoding": "identity"}

LOOKUP_SHARE = 0.9
"""The part of the time to connect that a look-up may take, so that one that hangs is reported as such."""

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Opens connections for httpcore."""

    def __init__(
        self, rule: UrlRule, resolve: Resolve, *, backend: httpcore.AsyncNetworkBackend | None = None
    ) -> None:
        self._rule = rule
        self._resolve = resolve
        self._backend = backend or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - so httpcore asks
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of `host` that answers, within `timeout`; may raise UrlRefused."""
        ends_s = time.monotonic() + (math.inf if timeout is None else timeout)
        addresses = await self._find_addresses(host, timeout)
        self._rule.check_addresses(addresses)
        failure: Exception | None = None
        for tried, address in enumerate(addresses):
            # A silent address must not take the time of the others.
            part_s = (ends_s - time.monotonic()) / (len(addresses) - tried)
            try:
                return await self._backend.connect_tcp(address, port, part_s, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError

    async def _find_addresses(self, host: str, within_s: float | None) -> Sequence[str]:
        try:
            async with asyncio.timeout(None if within_s is None else within_s * LOOKUP_SHARE):
                return await self._resolve(host)
        except UNRESOLVED as error:  # a TimeoutError is an OSError
            raise UrlRefused(Refusal.UNRESOLVED, param=self._rule.param) from error


def open_guarded_async_client(rule: UrlRule, *, timeout_s: float) -> httpx.AsyncClient:
    """Return a client that connects to permitted addresses only; the caller closes it.

    `timeout_s` limits look-up and connection together, and each read or write. An `asyncio.timeout` around a
    request limits all of it.

    Requests raise the errors of httpx, and UrlRefused if scheme, credentials, port or an address of the host
    are not permitted.
    """
    return httpx.AsyncClient(
        transport=_GuardedTransport(rule),
        timeout=timeout_s,
        headers=_HEADERS,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=False,
    )


class _GuardedTransport(httpx.AsyncHTTPTransport):
    """A transport with our network backend. httpx accepts none, so its connection pool is replaced."""

    def __init__(self, rule: UrlRule) -> None:
        context = httpx.create_ssl_context(trust_env=False)
        context.load_default_certs()  # besides the certificates of browsers, those of this machine
        super().__init__(verify=context, trust_env=False)
        self._rule = rule
        network = GuardedNetwork(rule, HostLookups().resolve)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context, network_backend=network, max_connections=None, max_keepalive_connections=0
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, or raise UrlRefused if its URL is not permitted."""
        self._rule.check(request.url)
        return await super().handle_async_request(request)
