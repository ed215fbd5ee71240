"""Sequential synchronous calls on one connection, by a client with little cost of its own."""

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass

BOUNDARY = "bench"
HEADERS: Mapping[str, str] = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
ANSWER_WITHIN_S = 1_200.0


@dataclass(frozen=True)
class Call:
    """One call, from before its first byte until its answer is read. Times as in `time.time`."""

    began_s: float
    ended_s: float
    took_ms: float
    body: bytes


class SyncClient:
    """A kept connection and the calls on it."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_WITHIN_S)

    def transcribe(self, form: bytes) -> Call:
        """POST the encoded form to the synchronous endpoint; an answer other than 200 is an error."""
        return self._call("POST", "/v1/audio/transcriptions", form, http.client.OK)

    def submit(self, form: bytes) -> Call:
        """POST the encoded form to the endpoint for jobs."""
        return self._call("POST", "/v1/jobs", form, http.client.ACCEPTED)

    def get_health(self) -> Call:
        """GET /health: the cost of HTTP, with what the api does for any request."""
        return self._call("GET", "/health", None, http.client.OK)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _call(self, method: str, path: str, body: bytes | None, expected: int) -> Call:
        began_s, began = time.time(), time.perf_counter()
        self._connection.request(method, path, body, HEADERS if body else {})
        answer = self._connection.getresponse()
        content = answer.read()
        took_ms = (time.perf_counter() - began) * 1000
        if answer.status != expected:
            raise RuntimeError(f"{method} {path} was answered with {answer.status}: {content!r}")
        return Call(began_s, began_s + took_ms / 1000, took_ms, content)


def encode_form(file: bytes, fields: Mapping[str, str]) -> bytes:
    """Return a multipart form with these fields and the file `clip.wav`."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="clip.wav"\r\n'
    end = f"\r\n--{BOUNDARY}--\r\n".encode()
    return b"".join((*parts, head.encode(), b"Content-Type: audio/wav\r\n\r\n", file, end))
