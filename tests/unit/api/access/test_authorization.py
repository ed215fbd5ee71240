"""Requests without a key are refused, over any protocol."""

import pytest
from starlette.types import Message, Receive, Scope, Send

from api.access.api_keys import ANYBODY, read_api_keys
from api.access.authorization import Authorization, is_open_path
from api.access.record_reader import RecordReader
from api.access.request_state import find_state, open_state
from api.access.stream_tokens import StreamTokens
from api.settings import parse_origins
from shared.record.connection import open_async_connection
from shared.record.scripts import AsyncScriptRunner

KEY = "lab-key-0123456789"


def make_tokens() -> StreamTokens:
    """Tokens in a Redis that is not there: none of these requests may ask it."""
    nowhere = "redis://127.0.0.1:1/0"
    runner = AsyncScriptRunner(open_async_connection(nowhere))
    return StreamTokens(RecordReader(runner, is_stopping=lambda: False), runner, ttl_s=300)


async def enter(scope: Scope, *, stream_token: str | None = None) -> tuple[list[Scope], list[Message]]:
    """Which requests come through to the application, and what is answered to others."""
    served: list[Scope] = []
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        served.append(scope)

    async def receive() -> Message:
        raise AssertionError("the body is none of its business")

    async def send(message: Message) -> None:
        sent.append(message)

    keys = read_api_keys(f"lab={KEY}")
    open_state(scope, stream_token=stream_token)
    await Authorization(app, keys, make_tokens())(scope, receive, send)
    return served, sent


async def test_a_key_comes_through_with_its_name() -> None:
    headers = [(b"authorization", f"Bearer {KEY}".encode())]
    [scope], sent = await enter({"type": "http", "path": "/v1/jobs", "headers": headers})
    assert find_state(scope).api_key.name == "lab"
    assert sent == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/jobs/1"),
        ("DELETE", "/v1/jobs/1"),
        ("GET", "/v1/jobs"),
        ("GET", "/v1/jobs/1/events/"),
        ("GET", "/v1/jobs/1/2/events"),
        ("GET", "//v1/jobs/1/events"),
        ("POST", "/v1/jobs/1/events"),
        ("POST", "/v1/jobs/1/stream-token"),
        ("POST", "/v1/audio/transcriptions"),
    ],
)
async def test_a_stream_token_is_not_looked_up_for_other_paths(method: str, path: str) -> None:
    scope = {"type": "http", "method": method, "path": path, "headers": []}
    served, sent = await enter(scope, stream_token=KEY)
    assert served == []
    assert sent[0]["status"] == 401


async def test_a_key_has_priority_over_a_stream_token() -> None:
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/jobs/1/events",
        "headers": [(b"authorization", b"Bearer wrong")],
    }
    served, sent = await enter(scope, stream_token=KEY)
    assert served == []
    assert b"invalid_api_key" in sent[1]["body"]


async def test_a_websocket_without_a_key_is_closed_before_it_is_open() -> None:
    served, sent = await enter({"type": "websocket", "path": "/v1/realtime", "headers": []})
    assert served == []
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_the_lifespan_needs_no_key() -> None:
    served, _ = await enter({"type": "lifespan"})
    assert len(served) == 1


def test_without_keys_the_key_of_a_request_is_anybody() -> None:
    scope: Scope = {"type": "http"}
    open_state(scope)
    assert find_state(scope).api_key is ANYBODY


@pytest.mark.parametrize(
    "path", ["/health/", "/Health", "/docs/", "/static-offline-docs", "/v1/jobs", "//health", ""]
)
def test_a_path_that_only_looks_open_is_not(path: str) -> None:
    assert not is_open_path(path)


@pytest.mark.parametrize(
    ("setting", "origins"),
    [
        ("", ()),
        ("*", ("*",)),
        (" https://a.example , http://localhost:3000,", ("https://a.example", "http://localhost:3000")),
        ("chrome-extension://abcdef", ("chrome-extension://abcdef",)),
        ("http://[::1]:8080", ("http://[::1]:8080",)),
    ],
)
def test_origins_are_read(setting: str, origins: tuple[str, ...]) -> None:
    assert parse_origins(setting) == origins


@pytest.mark.parametrize(
    "setting",
    [
        "a.example",
        "https://a.example/",
        "https://a.example/app",
        "*, https://a.example",
        "https://*.a.example",
        "null",
    ],
)
def test_a_malformed_origin_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match="not an origin"):
        parse_origins(setting)
