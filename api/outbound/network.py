"""How connections are opened: to the very address that was checked, so a second answer of DNS has no say."""

import asyncio
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import httpcore

from api.errors.urls import Refusal, UrlRefused
from api.outbound.resolution import UNRESOLVED, Resolve, check_addresses

LOOKUP_SHARE = 0.9
"""Which part of the time to connect a look-up may take: so one that hangs is told as what it is."""

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


@dataclass(frozen=True, slots=True)
class AddressRule:
    """Which addresses may be connected to, and what the client calls the URL."""

    allow_private: bool
    param: str

    def check(self, addresses: Sequence[str]) -> Sequence[str]:
        """`addresses`, or UrlRefused."""
        return check_addresses(addresses, allow_private=self.allow_private, param=self.param)


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
            UrlRefused: not all addresses of the host may be connected to, or there is none.
        """
        ends_s = time.monotonic() + (math.inf if timeout is None else timeout)
        addresses = self._rule.check(await self._find_addresses(host, timeout))
        failure: Exception | None = None
        for tried, address in enumerate(addresses):
            # One that is silent must not take the time of the others.
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
