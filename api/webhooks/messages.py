"""The request that a receiver gets: its body, and the headers that prove its origin."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from standardwebhooks import Webhook

from shared.record.deliveries import Delivery


class ErrorOfJob(msgspec.Struct, frozen=True):
    """The error of a failed job, as in `GET /v1/jobs/{id}`."""

    code: str
    message: str


class EndedJob(msgspec.Struct, frozen=True):
    """The job that ended; its transcript is fetched from `url`."""

    id: str
    state: str
    url: str
    error: ErrorOfJob | None
    metadata: dict[str, Any] | None


class JobEnded(msgspec.Struct, frozen=True):
    """The body. `type` is `job.succeeded`, `job.failed` or `job.cancelled`; the job ended at `timestamp`."""

    type: str
    timestamp: datetime
    data: EndedJob


def name_message(delivery: Delivery) -> str:
    """Return the id of a delivery's message. All attempts share it, so a receiver recognizes a repetition."""
    return f"msg_{delivery.job_id}"


def compose_body(delivery: Delivery, *, public_url: str) -> bytes:
    """Return the body as JSON, equal in all attempts. Without a `public_url` its link is a path."""
    failure = delivery.failure
    message = JobEnded(
        type=f"job.{delivery.state}",
        timestamp=datetime.fromtimestamp(delivery.ended_ms / 1000, UTC),
        data=EndedJob(
            id=delivery.job_id,
            state=delivery.state,
            url=f"{public_url.rstrip('/')}/v1/jobs/{delivery.job_id}",
            error=ErrorOfJob(failure.code, failure.message) if failure else None,
            metadata=delivery.new_job.metadata,
        ),
    )
    return msgspec.json.encode(message)


def sign_message(message_id: str, body: bytes, secrets: Sequence[str], *, now: datetime) -> Mapping[str, str]:
    """Return the headers of a message, signed with each of the secrets; the receiver needs only one."""
    text = body.decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message_id, now, text) for secret in secrets),
        "content-type": "application/json",
    }
