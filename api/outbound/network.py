"""Connections to the very address that was checked, so a second answer of DNS cannot change it."""

import asyncio
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import httpcore

from api.errors.urls import Refusal, UrlRefused
from api.outbound.addresses import is_public
from api.outbound.resolution import UNRESOLVED, Resolve

LOOKUP_SHARE = 0.9
"""The part of the time to connect that a look-up may take, so that one that hangs is reported as such."""

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


@dataclass(frozen=True, slots=True)
class AddressRule:
    """The addresses that may be connected to; `param` is the client's name for the URL, for errors."""

    allow_private: bool
    param: str

    def check(self, addresses: Sequence[str]) -> Sequence[str]:
        """Return `addresses` if all of them may be connected to.

        One address that is not public spoils all: a host that has both kinds is made to deceive.

        Raises:
            UrlRefused: there is no address, or one of them is not public and `allow_private` is false.
        """
        if not addresses:
            raise UrlRefused(Refusal.UNRESOLVED, param=self.param)
        if not self.allow_private and not all(map(is_public, addresses)):
            raise UrlRefused(Refusal.PRIVATE, param=self.param)
        return addresses


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Opens connections for httpcore."""

    def __init__(
        self, rule: AddressRule, *, resolve: Resolve, backend: httpcore.AsyncNetworkBackend | None = None
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
        """Connect to the first address of `host` that answers, within `timeout` in all.

        Raises:
            UrlRefused: the host has no address, or one that must not be connected to.
        """
        ends_s = time.monotonic() + (math.inf if timeout is None else timeout)
        addresses = self._rule.check(await self._find_addresses(host, timeout))
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
