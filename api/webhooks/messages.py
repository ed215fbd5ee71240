"""The request that a receiver gets: its body, and the headers that prove its origin."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

from api.schemas.webhooks import JobEndedBody
from shared.record.deliveries import Delivery


def compose_body(delivery: Delivery, *, public_url: str) -> bytes:
    """Return the body as JSON, equal in all attempts. Without a `public_url` its link is a path."""
    failure = delivery.failure
    state = delivery.state.value
    message = JobEndedBody.model_validate(
        {
            "type": f"job.{state}",
            "timestamp": datetime.fromtimestamp(delivery.ended_ms / 1000, UTC),
            "data": {
                "id": delivery.job_id,
                "state": state,
                "url": f"{public_url.rstrip('/')}/v1/jobs/{delivery.job_id}",
                "error": {"code": failure.code.value, "message": failure.message} if failure else None,
                "metadata": delivery.new_job.metadata,
            },
        }
    )
    return message.model_dump_json().encode()


def sign_message(job_id: str, body: bytes, secrets: Sequence[str], *, now: datetime) -> Mapping[str, str]:
    """Return the headers of a message, signed with each of the secrets; the receiver needs only one."""
    message_id = f"msg_{job_id}"  # shared by all attempts, so that a receiver recognizes a repetition
    text = body.decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message_id, now, text) for secret in secrets),
        "content-type": "application/json",
    }
