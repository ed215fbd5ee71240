"""What the log of a server says of requests, told apart by the ids that clients gave them."""

import re
import uuid
from typing import NamedTuple

from tests.support.server import RealServer

_PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)')


class ServedRequest(NamedTuple):
    """One line of the log."""

    status: int
    job_id: str | None


def new_request_id() -> str:
    """An id that a client sends as `x-request-id`, and sends again when it repeats the request."""
    return f"test-{uuid.uuid4().hex}"


def read_requests(server: RealServer, request_id: str) -> list[ServedRequest]:
    """The requests with this id that have been served so far."""
    lines = (dict(_PAIR.findall(line)) for line in server.log_text().splitlines() if request_id in line)
    served = [line for line in lines if line["event"] == "request_served"]
    return [ServedRequest(int(line["status"]), line.get("job_id")) for line in served]


def read_statuses(server: RealServer, request_id: str) -> list[int]:
    """What the requests with this id were answered."""
    return [request.status for request in read_requests(server, request_id)]
