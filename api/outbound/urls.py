"""The check of URLs that clients name, by their text alone."""

import re

import httpx

from api.errors.urls import Refusal, UrlRefused

MAX_URL_CHARACTERS = 8_192
"""The longest URL; signed ones are long."""

_HOST = re.compile(rb"[A-Za-z0-9._:-]+")
_PORTS = {"http": 80, "https": 443}
_LAST_PORT = 65_535
_FREE_PORT = 1_024
"""From this port on any program may listen. Below are mail, shells and others that must not be written to."""


def parse_url(text: str, *, allow_private: bool, param: str) -> httpx.URL:
    """Return the URL that a client sent as `param`.

    Raises:
        UrlRefused: the text is not a URL, is too long, or fails `check_url`.
    """
    if len(text) > MAX_URL_CHARACTERS:
        raise UrlRefused(Refusal.MALFORMED, param=param)
    try:
        url = httpx.URL(text)
        _ = url.host  # malformed punycode raises only here
    except (httpx.InvalidURL, ValueError) as error:
        raise UrlRefused(Refusal.MALFORMED, param=param) from error
    check_url(url, allow_private=allow_private, param=param)
    return url


def check_url(url: httpx.URL, *, allow_private: bool, param: str) -> None:
    """Check scheme, credentials, host and port; the address is checked when the connection is made.

    Raises:
        UrlRefused: one of them is not permitted.
    """
    if url.scheme not in _PORTS:
        raise UrlRefused(Refusal.SCHEME, param=param)
    if url.userinfo:
        raise UrlRefused(Refusal.CREDENTIALS, param=param)
    port = _PORTS[url.scheme] if url.port is None else url.port
    if not _HOST.fullmatch(url.raw_host) or port > _LAST_PORT:
        raise UrlRefused(Refusal.MALFORMED, param=param)
    if not (allow_private or port >= _FREE_PORT or port in _PORTS.values()):
        raise UrlRefused(Refusal.PORT, param=param)
