"""The addresses of hosts, looked up on threads that nothing else uses."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Host to addresses, the likeliest to answer first; raises OSError or UnicodeError."""

UNRESOLVED = (OSError, UnicodeError)
"""The errors of a resolver for a host without an address, or a name that no host can have."""

MAX_LOOKUPS = 128
"""The most names that one client looks up at once. A look-up that hangs keeps its place until the resolver
gives up, which is later than the request that wanted it."""

Lookup = asyncio.Future[Sequence[str]]


class HostLookups:
    """Asks the resolver of this machine on threads of its own, for one event loop.

    The loop's default threads serve everything else, and names that hang would hold them. A pool of
    `concurrent.futures` would hold up the end of the process, which waits for its threads. It does not wait
    for daemon threads.
    """

    def __init__(self) -> None:
        self._under_way: dict[str, Lookup] = {}
        self._places = asyncio.Semaphore(MAX_LOOKUPS)

    async def resolve(self, host: str) -> Sequence[str]:
        """Return the addresses of a host. Concurrent calls for one host share a look-up.

        Raises:
            OSError, UnicodeError: the host has no address, or the name is malformed.
        """
        if host not in self._under_way:
            # The caller itself waits for a place, so one that gives up leaves no look-up.
            await self._places.acquire()
            if host in self._under_way:
                self._places.release()
            else:
                self._begin(host)
        return await asyncio.shield(self._under_way[host])

    def _begin(self, host: str) -> None:
        lookup: Lookup = asyncio.get_running_loop().create_future()
        try:
            threading.Thread(target=_look_up, args=(host, lookup), name="look-up", daemon=True).start()
        except RuntimeError as error:
            self._places.release()
            raise OSError("this process gets no further thread") from error
        self._under_way[host] = lookup
        lookup.add_done_callback(partial(self._end, host))

    def _end(self, host: str, lookup: Lookup) -> None:
        lookup.exception()  # retrieved here, since the callers may have given up
        del self._under_way[host]
        self._places.release()


def _look_up(host: str, lookup: Lookup) -> None:
    """Settle `lookup`, on a thread; its loop may be closed by then."""
    settle: Callable[[], None]
    try:
        settle = partial(lookup.set_result, _ask_resolver(host))
    except Exception as error:  # noqa: BLE001 - the border of a thread: the callers get the error
        settle = partial(lookup.set_exception, error)
    with suppress(RuntimeError):
        lookup.get_loop().call_soon_threadsafe(settle)


def _ask_resolver(host: str) -> Sequence[str]:
    entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in entries))
