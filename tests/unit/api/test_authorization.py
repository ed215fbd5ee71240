"""Whatever comes without a key is stopped, over whatever protocol."""

import pytest
from starlette.types import Message, Receive, Scope, Send

from api.api_keys import ANYBODY, parse_api_keys
from api.authorization import Authorization, find_api_key, is_open_path
from api.origins import parse_origins

KEY = "lab-key-0123456789"


async def enter(scope: Scope) -> tuple[list[Scope], list[Message]]:
    """Which requests come through to the application, and what is answered to others."""
    served: list[Scope] = []
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        served.append(scope)

    async def receive() -> Message:
        raise AssertionError("the body is none of its business")

    async def send(message: Message) -> None:
        sent.append(message)

    await Authorization(app, parse_api_keys([("entry 1", f"lab={KEY}")]))(scope, receive, send)
    return served, sent


async def test_a_key_comes_through_with_its_name() -> None:
    headers = [(b"authorization", f"Bearer {KEY}".encode())]
    [scope], sent = await enter({"type": "http", "path": "/v1/jobs", "headers": headers})
    assert find_api_key(scope).name == "lab"
    assert sent == []


async def test_a_websocket_without_a_key_is_closed_before_it_is_open() -> None:
    served, sent = await enter({"type": "websocket", "path": "/v1/realtime", "headers": []})
    assert served == []
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_the_life_of_the_server_is_no_request() -> None:
    served, _ = await enter({"type": "lifespan"})
    assert len(served) == 1


def test_without_keys_the_caller_is_anybody() -> None:
    assert find_api_key({"state": {}}) is ANYBODY


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
def test_what_is_no_origin_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match="no origin"):
        parse_origins(setting)
