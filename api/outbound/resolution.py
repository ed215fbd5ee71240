"""From the name of a host to the addresses that may be connected to."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

from api.errors import Refusal, UrlRefused
from api.outbound.addresses import is_public

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port to addresses, the likeliest to answer first; raises OSError or UnicodeError."""

UNRESOLVED = (OSError, UnicodeError)
"""What a resolver raises where a host has no address, or no name that could have one."""


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, by the resolver of this machine, asked on a thread."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


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
