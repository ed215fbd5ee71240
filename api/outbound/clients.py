"""The HTTP client for URLs that clients name: no private address, redirect, proxy, cookie or secret.

An address is checked and then connected to, without being asked for a second time; TLS still goes by the
name of the host. Nothing is kept open between two requests, so each is checked anew.
"""

import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpcore
import httpx

from api.outbound.network import AddressRule, GuardedNetwork
from api.outbound.resolution import Resolve
from api.outbound.urls import check_url

# Compressed answers are not asked for: what they expand to is not known before.
_HEADERS = {"User-Agent": "qwen3-asr-server", "Accept-Encoding": "identity"}


def open_guarded_async_client(
    *, allow_private: bool, timeout_s: float, param: str, resolve: Resolve
) -> httpx.AsyncClient:
    """A client that goes to permitted addresses alone; whoever opens it closes it.

    Args:
        allow_private: whether addresses that are not public may be connected to.
        timeout_s: seconds that finding and connecting to a host, and each read or write, may take. All of a
            request together is bounded by an `asyncio.timeout` around it.
        param: what the parameter is called by which a URL came, for errors.
        resolve: finds the addresses of a host.

    Its requests raise what httpx raises, and UrlRefused where scheme, credentials, port or an address of the
    host forbid them.
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
    """httpx takes no network backend; its pool is therefore replaced by one that has ours."""

    def __init__(self, rule: AddressRule, network: GuardedNetwork) -> None:
        context = _create_ssl_context()
        super().__init__(verify=context, trust_env=False)
        self._rule = rule
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context, network_backend=network, max_connections=None, max_keepalive_connections=0
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, if its URL may be asked."""
        check_url(request.url, allow_private=self._rule.allow_private, param=self._rule.param)
        return await super().handle_async_request(request)


def _create_ssl_context() -> ssl.SSLContext:
    """Trusts what browsers trust, and what this machine trusts besides."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context
