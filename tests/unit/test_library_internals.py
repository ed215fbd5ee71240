"""The private parts of libraries that we use still have the shape that our code expects.

pyproject.toml bounds these libraries. A failure here after a raised bound names the module of ours to review.
"""

import asyncio.selector_events
import inspect
from collections.abc import Callable
from typing import Any

import httpcore
import httpx
import pytest
from uvicorn import Config
from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        (H11Protocol.connection_made, ["self", "transport"]),
        (H11Protocol.connection_lost, ["self", "exc"]),
        (H11Protocol.pause_writing, ["self"]),
        (H11Protocol.resume_writing, ["self"]),
        (H11Protocol._unsupported_upgrade_warning, ["self"]),
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


def test_asyncio_receives_into_the_memory_that_our_connections_give() -> None:
    source = inspect.getsource(asyncio.selector_events._SelectorSocketTransport)  # type: ignore[attr-defined]

    for step in (
        "isinstance(protocol, protocols.BufferedProtocol)",
        "recv_into(buf)",
        "buffer_updated(nbytes)",
    ):
        assert step in source, "review api/server.py"


async def test_h11_counts_the_missing_bytes_of_a_body_that_our_connections_take() -> None:
    config = Config(service_unavailable, log_config=None)
    connection: Any = H11Protocol(config, ServerState(), {}).conn

    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12")
    for _ in range(3):  # the request, the data, and that more is needed
        connection.next_event()
    reader = connection._reader
    assert (reader._length, reader._remaining) == (5, 3), "review api/server.py"
    reader._remaining -= 2
    connection.receive_data(b"5")
    assert bytes(connection.next_event().data) == b"5"
    assert type(connection.next_event()).__name__ == "EndOfMessage"


def test_uvicorn_collects_a_body_as_our_connections_do() -> None:
    source = inspect.getsource(H11Protocol.handle_events)

    for step in (
        "cycle.body += event.data",
        "HIGH_WATER_LIMIT",
        "flow.pause_reading()",
        "message_event.set()",
    ):
        assert step in source, "review api/server.py"


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
