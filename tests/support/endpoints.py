"""The endpoints of a server, as a client walks through them."""

import json
from typing import Any

import httpx_sse

from tests.support.server import START_WITHIN_S, RealServer, wait_for

URL = "/v1/audio/transcriptions"


def transcribe(server: RealServer, file: bytes, **form: str) -> dict[str, Any]:
    answer = server.client.post(URL, files={"file": file}, data=form)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def submit(server: RealServer, file: bytes, **form: str) -> str:
    """Submit a job; answers the path of its record."""
    answer = server.client.post("/v1/jobs", files={"file": file}, data=form)
    assert answer.status_code == 202, answer.text
    return str(answer.headers["location"])


def follow(server: RealServer, location: str) -> list[tuple[str, dict[str, Any]]]:
    """The events of a job up to its final one, with their names."""
    with httpx_sse.connect_sse(server.client, "GET", f"{location}/events") as source:
        return [(event.event, json.loads(event.data)) for event in source.iter_sse() if event.data]


def read_success(server: RealServer, location: str, *, within_s: float = START_WITHIN_S) -> dict[str, Any]:
    """The record of a job once it has succeeded."""

    def look() -> dict[str, Any] | None:
        job: dict[str, Any] = server.client.get(location).json()
        assert job["state"] not in {"failed", "cancelled"}, job
        return job if job["state"] == "succeeded" else None

    return wait_for(look, within_s=within_s, what="the transcript")
