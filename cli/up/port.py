"""The listening socket: bound before anything starts, and kept while the api restarts."""

import errno
import socket

from cli.up.errors import CannotStart

BACKLOG = 2048
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised here, not bound


def open_port(host: str, port: int) -> socket.socket:
    """Return a socket that listens on `host` and `port`; early clients wait in its queue for the api.

    Raises:
        CannotStart: the port is taken or not permitted, or the address is not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as problem:
        raise CannotStart(_describe_refusal(problem, host=host, port=port)) from problem
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as problem:
        listener.close()
        raise CannotStart(_describe_refusal(problem, host=host, port=port)) from problem
    return listener


def base_url(listener: socket.socket) -> str:
    """Return the URL at which a program on this machine reaches `listener`."""
    host, port = listener.getsockname()[:2]
    host = WILDCARDS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _describe_refusal(problem: OSError, *, host: str, port: int) -> str:
    if problem.errno == errno.EADDRINUSE:
        return f"PORT={port} is in use by another program. Stop that program, or choose another PORT."
    if problem.errno == errno.EACCES:
        return f"PORT={port} is not permitted for this user. Choose a PORT above 1023."
    return f"HOST={host} is not an address of this machine: {problem.strerror}."
