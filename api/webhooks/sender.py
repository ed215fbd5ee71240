"""One attempt of a delivery: a signed request to a server that a client chose."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from standardwebhooks import Webhook

from api.access.signing_secrets import WebhookSecrets
from api.errors.urls import Refusal, UrlRefused
from api.schemas.jobs import JobEndedBody
from api.webhooks.retry_plan import Verdict, judge_status, read_retry_after
from shared.jobs import DeliveryOutcome
from shared.record.deliveries import Delivery

MAX_REASON_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of an attempt, for the log of the job, and what follows from it."""

    outcome: DeliveryOutcome
    verdict: Verdict
    retry_after_s: float = 0.0
    refusal: Refusal | None = None
    """The reason of a refused URL, for the server's log alone."""


class Sender:
    """Sends deliveries. Of a receiver's answer only status and headers are read."""

    def __init__(
        self,
        open_client: Callable[[], httpx.AsyncClient],
        secrets: WebhookSecrets,
        *,
        timeout_s: float,
        public_url: str,
    ) -> None:
        self._open_client = open_client
        self._secrets = secrets
        self._timeout_s = timeout_s
        self._public_url = public_url
        self._client: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def send(self, delivery: Delivery) -> Answer:
        """Send a delivery once, within `timeout_s` from the look-up of the host to the head of the answer."""
        job = delivery.new_job
        secrets = self._secrets.find(job.key_name, must_be_own=job.has_own_secret)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._post(await self._find_client(), delivery, secrets)
        except (TimeoutError, httpx.TimeoutException):
            return _fail(f"The receiver did not answer within {self._timeout_s:g} s.")
        except UrlRefused as refused:
            # The log of the job must not show which of the two it is.
            may_pass = refused.reason in (Refusal.PRIVATE, Refusal.UNRESOLVED)
            verdict = Verdict.RETRY if may_pass else Verdict.REFUSED
            return Answer(DeliveryOutcome(error=refused.message), verdict, refusal=refused.reason)
        except httpx.RequestError as error:
            reason = str(error)[:MAX_REASON_CHARACTERS] or type(error).__name__
            return _fail(f"The connection failed: {reason}.")

    async def close(self) -> None:
        """Close the client; nothing is sent afterwards."""
        if self._client is not None:
            await self._client.aclose()

    async def _find_client(self) -> httpx.AsyncClient:
        """Return the client. It is opened on a thread, since reading the trusted certificates takes long."""
        async with self._opening:
            if self._client is None:
                self._client = await asyncio.to_thread(self._open_client)
            return self._client

    async def _post(self, client: httpx.AsyncClient, delivery: Delivery, secrets: tuple[str, ...]) -> Answer:
        body = compose_body(delivery, public_url=self._public_url)
        now = datetime.now(UTC)
        headers = sign_message(delivery.job_id, body, secrets, now=now)
        url = delivery.new_job.webhook_url or ""
        async with client.stream("POST", url, content=body, headers=headers) as response:
            status = response.status_code
            retry_after_s = read_retry_after(response.headers.get("retry-after"), now=now)
        return Answer(DeliveryOutcome(status=status), judge_status(status), retry_after_s)


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


def _fail(reason: str) -> Answer:
    return Answer(DeliveryOutcome(error=reason), Verdict.RETRY)
