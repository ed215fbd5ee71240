"""The private parts of libraries that we use still have the shape that our code expects.

pyproject.toml bounds these libraries. A failure here after a raised bound names the module of ours to review.
"""

import asyncio.selector_events
import inspect
from collections.abc import Callable

import httpcore
import httpx
import pytest
from uvicorn.protocols.http.h11_impl import H11Protocol


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        (H11Protocol.connection_made, ["self", "transport"]),
        (H11Protocol.connection_lost, ["self", "exc"]),
        (H11Protocol.pause_writing, ["self"]),
        (H11Protocol.resume_writing, ["self"]),
    ],
)
def test_uvicorn_calls_the_protocol_methods_that_we_extend(
    method: Callable[..., None], parameters: list[str]
) -> None:
    assert list(inspect.signature(method).parameters) == parameters, "review api/server.py"


def test_uvicorn_keeps_the_attributes_that_our_connections_read() -> None:
    source = inspect.getsource(H11Protocol)

    for assignment in ("self.transport = ", "self.loop = "):
        assert assignment in source, "review api/server.py"


def test_asyncio_receives_no_more_at_once_than_our_connections_set() -> None:
    source = inspect.getsource(asyncio.selector_events._SelectorSocketTransport)  # type: ignore[attr-defined]

    assert "recv(self.max_size)" in source, "review api/server.py"


def test_httpx_sends_requests_through_the_pool_that_we_replace() -> None:
    transport = httpx.AsyncHTTPTransport()

    assert isinstance(vars(transport).get("_pool"), httpcore.AsyncConnectionPool), (
        "review api/outbound/clients.py: an unchecked pool would connect to private addresses"
    )
    assert "self._pool.handle_async_request" in inspect.getsource(
        httpx.AsyncHTTPTransport.handle_async_request
    )


def test_httpcore_connects_through_the_network_backend_that_we_pass() -> None:
    pool = inspect.signature(httpcore.AsyncConnectionPool).parameters
    connect = inspect.signature(httpcore.AsyncNetworkBackend.connect_tcp).parameters

    assert "network_backend" in pool, "review api/outbound/clients.py"
    assert list(connect) == ["self", "host", "port", "timeout", "local_address", "socket_options"], (
        "review api/outbound/clients.py"
    )
