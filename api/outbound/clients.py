"""The HTTP client for URLs that clients name: no private address, redirect, proxy, cookie or secret.

The address that was checked is connected to, without a second look-up; TLS still verifies the host's name.
No connection is kept open between two requests, so each request is checked anew.
"""

import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpcore
import httpx

from api.outbound.network import AddressRule, GuardedNetwork
from api.outbound.resolution import Resolve
from api.outbound.urls import check_url

# No compressed answers: their size after decompression is unknown.
_HEADERS = {"User-Agent": "qwen3-asr-server", "Accept-Encoding": "identity"}


def open_guarded_async_client(
    *, allow_private: bool, timeout_s: float, param: str, resolve: Resolve
) -> httpx.AsyncClient:
    """Return a client that connects to permitted addresses only; the caller closes it.

    Args:
        allow_private: permits addresses that are not public.
        timeout_s: limits look-up and connection together, and each read or write. An `asyncio.timeout` around
            a request limits all of it.
        param: the client's name for the URL, for errors.
        resolve: finds the addresses of a host.

    Requests raise the errors of httpx, and UrlRefused if scheme, credentials, port or an address of the host
    are not permitted.
    """
    rule = AddressRule(allow_private, param)
    return httpx.AsyncClient(
        transport=_GuardedTransport(rule, GuardedNetwork(rule, resolve=resolve)),
        timeout=timeout_s,
        headers=_HEADERS,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=False,
    )


class _GuardedTransport(httpx.AsyncHTTPTransport):
    """A transport with our network backend. httpx accepts none, so its connection pool is replaced."""

    def __init__(self, rule: AddressRule, network: GuardedNetwork) -> None:
        context = _create_ssl_context()
        super().__init__(verify=context, trust_env=False)
        self._rule = rule
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context, network_backend=network, max_connections=None, max_keepalive_connections=0
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, or raise UrlRefused if its URL is not permitted."""
        check_url(request.url, allow_private=self._rule.allow_private, param=self._rule.param)
        return await super().handle_async_request(request)


def _create_ssl_context() -> ssl.SSLContext:
    """Return a context that trusts the certificates of browsers and of this machine."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context
