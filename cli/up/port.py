"""The listening socket: bound before anything starts, and kept over restarts of the api."""

import errno
import socket

from cli.up.start_errors import CannotStart

BACKLOG = 2048
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised here, not bound


def open_port(host: str, port: int) -> socket.socket:
    """A socket that listens on `host` and `port`; clients that come before the api is up wait in its queue.

    Raises:
        CannotStart: the port is taken, or the address is not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as problem:
        raise CannotStart(f"HOST={host} is no address to listen on: {problem.strerror}.") from problem
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as problem:
        listener.close()
        raise CannotStart(_tell_refusal(problem, host=host, port=port)) from problem
    return listener


def base_url(listener: socket.socket) -> str:
    """The URL under which a program on this machine reaches `listener`."""
    host, port = listener.getsockname()[:2]
    host = WILDCARDS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _tell_refusal(problem: OSError, *, host: str, port: int) -> str:
    if problem.errno == errno.EADDRINUSE:
        return f"PORT={port} is in use by another program: stop that one, or choose another with PORT."
    if problem.errno == errno.EACCES:
        return f"PORT={port} may not be opened by this user: choose one above 1023 with PORT."
    return f"HOST={host} is no address to listen on: {problem.strerror}."
