"""A client of the server that sends an input to its endpoint and waits for the outcome."""

import http.client
import json
import time
from collections.abc import Mapping
from typing import Any

from tests.fuzz.cases import Case, Endpoint
from tests.fuzz.outcomes import Answer, Outcome

STUCK_S = 60.0
"""The time after which a request or a job counts as stuck."""

FINAL = frozenset({"succeeded", "failed", "cancelled"})
_POLL_S = 0.05
_BOUNDARY = "zu5c7qz7ym"
_HEADERS = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
_PATHS: Mapping[Endpoint, str] = {
    Endpoint.JOBS: "/v1/jobs",
    Endpoint.SYNC: "/v1/audio/transcriptions",
    Endpoint.STREAM: "/v1/audio/transcriptions/stream",
}

Body = dict[str, Any]


class Visitor:
    """A client that sends one input after the other. Not thread-safe."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)

    def visit(self, case: Case) -> Outcome:
        """Send `case` and wait for its end, or until it counts as stuck."""
        began_s = time.monotonic()
        try:
            answer = self._send(case)
        except TimeoutError as error:
            answer = Answer(None, "stuck", message=repr(error))
        except (OSError, http.client.HTTPException, ValueError) as error:
            answer = Answer(None, message=repr(error))
        return Outcome(case, answer, time.monotonic() - began_s)

    def _send(self, case: Case) -> Answer:
        status, raw = self._request("POST", _PATHS[case.endpoint], _write_form(case))
        if status >= http.client.BAD_REQUEST:
            return _read_refusal(status, raw)
        match case.endpoint:
            case Endpoint.SYNC:
                return Answer(status, "succeeded" if "text" in _parse(raw) else None)
            case Endpoint.STREAM:
                return _read_stream(status, raw)
            case Endpoint.JOBS:
                return self._follow(status, str(_parse(raw)["id"]))

    def _follow(self, status: int, job_id: str) -> Answer:
        """Poll the job to its end, and delete it."""
        deadline = time.monotonic() + STUCK_S
        path = f"/v1/jobs/{job_id}"
        while time.monotonic() < deadline:
            polled, raw = self._request("GET", path)
            if polled >= http.client.BAD_REQUEST:
                return _read_refusal(polled, raw)
            job = _parse(raw)
            if job["state"] in FINAL:
                return self._delete(path) or _read_job(status, job)
            time.sleep(_POLL_S)
        return Answer(status, "stuck", message=f"job {job_id} did not end within {STUCK_S:g} s")

    def _delete(self, path: str) -> Answer | None:
        status, raw = self._request("DELETE", path)
        return _read_refusal(status, raw) if status >= http.client.BAD_REQUEST else None

    def _request(self, method: str, path: str, form: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(*self._address, timeout=STUCK_S)
        try:
            connection.request(method, path, form, _HEADERS if form else {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def _write_form(case: Case) -> bytes:
    disposition = f'Content-Disposition: form-data; name="file"; filename="{case.clip}"'
    head = f"--{_BOUNDARY}\r\n{disposition}\r\n\r\n".encode()
    return head + case.content + f"\r\n--{_BOUNDARY}--\r\n".encode()


def _parse(raw: bytes) -> Body:
    body: Body = json.loads(raw)
    return body


def _read_refusal(status: int, raw: bytes) -> Answer:
    error: Body = _parse(raw)["error"]
    return Answer(status, code=error["code"], message=error["message"])


def _read_job(status: int, job: Body) -> Answer:
    error: Body = job.get("error") or {}
    return Answer(status, job["state"], error.get("code"), error.get("message", ""))


def _read_stream(status: int, raw: bytes) -> Answer:
    """Return how a stream ended: with `done`, or with an error."""
    events = [line.removeprefix(b"data: ") for line in raw.splitlines() if line.startswith(b"data: ")]
    last = _parse(events[-1]) if events else {}
    if "error" in last:
        return Answer(status, "failed", last["error"]["code"], last["error"]["message"])
    return Answer(status, "succeeded" if last.get("done") else None)
