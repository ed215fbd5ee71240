"""When the text of a stream comes, measured by its client."""

import json
import time
from typing import NamedTuple

import httpx_sse

from tests.support.endpoints import URL
from tests.support.server import RealServer

MAX_SHARE = 0.2
"""The share of the time, for a minute of speech, that may pass before there is text."""


class StreamTimes(NamedTuple):
    """Seconds from the request to the first text and to the end, and the final text."""

    first_text_s: float
    total_s: float
    text: str

    @property
    def first_share(self) -> float:
        """The share of the time that passed before there was text."""
        return self.first_text_s / self.total_s


def time_stream(server: RealServer, file: bytes) -> StreamTimes:
    """Send `file` to the streaming endpoint and read all that comes."""
    began = time.monotonic()
    first_text_s, text = 0.0, ""
    with httpx_sse.connect_sse(server.client, "POST", f"{URL}/stream", files={"file": file}) as source:
        for event in source.iter_sse():
            body = json.loads(event.data) if event.event == "message" and event.data else {}
            assert "error" not in body, body
            text = body.get("text", text)
            if text and not first_text_s:
                first_text_s = time.monotonic() - began
    assert body == {"done": True}
    return StreamTimes(first_text_s, time.monotonic() - began, text)
