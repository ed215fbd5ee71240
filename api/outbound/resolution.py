"""From the name of a host to the addresses that may be connected to."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from api.errors.urls import Refusal, UrlRefused
from api.outbound.addresses import is_public
from api.outbound.places import Places

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Host to addresses, the likeliest to answer first; raises OSError or UnicodeError."""

UNRESOLVED = (OSError, UnicodeError)
"""What a resolver raises where a host has no address, or no name that could have one."""

LOOKUPS_AT_ONCE = 256
"""How many names are looked up at once; others wait. It is far more than there are requests under way, as a
look-up that hangs cannot be ended, and outlives the request that it was for."""

LOOKUPS_OF_A_DOMAIN = {2: 32, 3: 8}
"""How many of these may be for names that agree in so many last labels: whoever has a domain whose servers
are silent must not get all. The third label tells domains under `co.uk` and its like apart."""

Lookup = asyncio.Future[Sequence[str]]


class HostLookups:
    """Asks the resolver of this machine, each time on a thread of its own, for one event loop.

    The threads that the loop has for everything else are not used: they are few, and look-ups that hang would
    hold them. Nor does the end of the process wait for these.
    """

    def __init__(self) -> None:
        self._under_way: dict[str, Lookup] = {}
        self._places = Places()

    async def resolve(self, host: str) -> Sequence[str]:
        """The addresses of a host; who asks for it while it is looked up gets what that finds.

        Raises:
            OSError, UnicodeError: it has none, or no name that could have one.
        """
        while host not in self._under_way:
            limits = _limit_lookups(host)
            if self._places.find_full(limits) is None:
                self._begin(host, limits)
            else:
                await self._places.wait_for_change()
        return await asyncio.shield(self._under_way[host])

    def _begin(self, host: str, names: Mapping[str, int]) -> None:
        lookup: Lookup = asyncio.get_running_loop().create_future()
        try:
            threading.Thread(target=_look_up, args=(host, lookup), name="look-up", daemon=True).start()
        except RuntimeError as error:
            raise OSError("this process gets no further thread") from error
        self._under_way[host] = lookup
        self._places.take(names)

        def end(ended: Lookup) -> None:
            ended.exception()  # noticed, should nobody wait for it any more
            del self._under_way[host]
            self._places.free(names)

        lookup.add_done_callback(end)


def check_addresses(addresses: Sequence[str], *, allow_private: bool, param: str) -> Sequence[str]:
    """`addresses`, if there are any and every one of them may be connected to.

    One that is not public spoils all: hosts that have both are made to deceive.

    Raises:
        UrlRefused: there is none, or one that is not public.
    """
    if not addresses:
        raise UrlRefused(Refusal.UNRESOLVED, param=param)
    if not allow_private and not all(map(is_public, addresses)):
        raise UrlRefused(Refusal.PRIVATE, param=param)
    return addresses


def _limit_lookups(host: str) -> dict[str, int]:
    """How many look-ups there may be in all, and under the domains of `host`."""
    labels = host.lower().rstrip(".").split(".")
    limits = {"": LOOKUPS_AT_ONCE}
    for count, limit in LOOKUPS_OF_A_DOMAIN.items():
        if len(labels) >= count:
            limits[".".join(labels[-count:])] = limit
    return limits


def _look_up(host: str, lookup: Lookup) -> None:
    """What a thread does; the loop may be closed when it is done."""
    settle: Callable[[], None]
    try:
        settle = partial(lookup.set_result, _ask_resolver(host))
    except Exception as error:  # noqa: BLE001 - a border: whoever waits is told
        settle = partial(lookup.set_exception, error)
    with suppress(RuntimeError):
        lookup.get_loop().call_soon_threadsafe(settle)


def _ask_resolver(host: str) -> Sequence[str]:
    entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in entries))
