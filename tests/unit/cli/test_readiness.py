"""The lines about a part that takes long to start."""

import asyncio
import socket

import pytest

from cli.up import readiness
from cli.up.readiness import check_api, wait_until


def test_a_slow_start_is_shown_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(readiness, "MESSAGE_INTERVAL_S", 0.0)
    obstacles = iter(["", "no worker is ready yet", None])

    async def check() -> str | None:
        return next(obstacles)

    asyncio.run(wait_until(check, name="The api", show=lines.append))

    assert lines == [
        "The api is still starting (0 s)",
        "The api is still starting (0 s): no worker is ready yet",
    ]


@pytest.mark.parametrize(
    ("answer", "obstacle"),
    [
        (b"", ""),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", None),
        (b'HTTP/1.1 503 \r\n\r\n{"error":{"code":"no_worker"}}', "no worker is ready yet"),
        (b"HTTP/1.1 500 \r\n\r\nbroken", "/ready answers 500: broken"),
    ],
)
def test_an_answer_of_the_api_names_the_obstacle(answer: bytes, obstacle: str | None) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def check(listener: socket.socket) -> str | None:
        async with await asyncio.start_server(serve, sock=listener):
            return await check_api(f"http://127.0.0.1:{listener.getsockname()[1]}")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert asyncio.run(check(listener)) == obstacle


def test_an_api_that_keeps_silent_is_still_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "ANSWER_WITHIN_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert asyncio.run(check_api(f"http://127.0.0.1:{listener.getsockname()[1]}")) == ""
