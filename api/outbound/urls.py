"""The rule for URLs that clients name, and for the addresses of their hosts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from api.errors.urls import Refusal, UrlRefused
from api.outbound.addresses import is_public

MAX_URL_CHARACTERS = 8_192
"""The longest URL; signed ones are long."""

_HOST = re.compile(rb"[A-Za-z0-9._:-]+")
_PORTS = {"http": 80, "https": 443}
_LAST_PORT = 65_535
_FREE_PORT = 1_024
"""From this port on any program may listen. Below are mail, shells and others that must not be written to."""


@dataclass(frozen=True, slots=True)
class UrlRule:
    """The URLs and addresses that are permitted; `param` is the client's name for the URL, for errors."""

    allow_private: bool
    param: str

    def parse(self, text: str) -> httpx.URL:
        """Return the URL that a client sent.

        Raises:
            UrlRefused: the text is not a URL, is too long, or fails `check`.
        """
        if len(text) > MAX_URL_CHARACTERS:
            raise self._refuse(Refusal.MALFORMED)
        try:
            url = httpx.URL(text)
            _ = url.host  # malformed punycode raises only here
        except (httpx.InvalidURL, ValueError) as error:
            raise self._refuse(Refusal.MALFORMED) from error
        self.check(url)
        return url

    def check(self, url: httpx.URL) -> None:
        """Check scheme, credentials, host and port; the address is checked when the connection is made.

        Raises:
            UrlRefused: one of them is not permitted.
        """
        if url.scheme not in _PORTS:
            raise self._refuse(Refusal.SCHEME)
        if url.userinfo:
            raise self._refuse(Refusal.CREDENTIALS)
        port = _PORTS[url.scheme] if url.port is None else url.port
        if not _HOST.fullmatch(url.raw_host) or port > _LAST_PORT:
            raise self._refuse(Refusal.MALFORMED)
        if not (self.allow_private or port >= _FREE_PORT or port in _PORTS.values()):
            raise self._refuse(Refusal.PORT)

    def check_addresses(self, addresses: Sequence[str]) -> None:
        """Check the addresses of a host.

        One address that is not public spoils all: a host that has both kinds is made to deceive.

        Raises:
            UrlRefused: there is no address, or one of them is not public and `allow_private` is false.
        """
        if not addresses:
            raise self._refuse(Refusal.UNRESOLVED)
        if not self.allow_private and not all(map(is_public, addresses)):
            raise self._refuse(Refusal.PRIVATE)

    def _refuse(self, reason: Refusal) -> UrlRefused:
        return UrlRefused(reason, param=self.param)
