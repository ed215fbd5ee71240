"""One try of a delivery: a signed request to a server that nobody here knows."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from api.errors.urls import Refusal, UrlRefused
from api.webhooks.messages import compose_body, name_message, sign_message
from api.webhooks.schedule import Fate, judge_status, read_retry_after
from api.webhooks.signing_secrets import WebhookSecrets
from shared.jobs import DeliveryOutcome
from shared.record.deliveries import Delivery

MAX_REASON_CHARACTERS = 200

MAX_CONNECTIONS = 8
"""How many connections a client is used for at once; httpcore's pools open ten. One client for each request
would hold up all others, so long does it take to open: the certificates that it trusts are read."""

_WITHOUT_OWN = (
    "The secret of its API key is not known to the process that sends it, which reads keys at its start."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a try came to, for the log of the job and for what is done next."""

    outcome: DeliveryOutcome
    fate: Fate
    retry_after_s: float = 0.0


class Sender:
    """Sends deliveries. What a receiver answers is not read beyond its headers."""

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
        self._clients: dict[httpx.AsyncClient, int] = {}

    async def send(self, delivery: Delivery) -> Answer:
        """Send a delivery once; all of it, from the name of the host on, takes `timeout_s` at the most."""
        job = delivery.new_job
        secrets = self._secrets.find(job.key_name, must_be_own=job.has_own_secret)
        if not secrets:
            return _fail(
                _WITHOUT_OWN if job.has_own_secret else "There is no secret any more to sign it with."
            )
        try:
            async with asyncio.timeout(self._timeout_s), self._borrow_client() as client:
                return await self._post(client, delivery, secrets)
        except (TimeoutError, httpx.TimeoutException):
            return _fail(f"The receiver did not answer within {self._timeout_s:g} s.")
        except UrlRefused as refused:
            fate = Fate.RETRY if refused.reason is Refusal.UNRESOLVED else Fate.REFUSED
            return Answer(DeliveryOutcome(error=refused.message), fate)
        except httpx.RequestError as error:
            reason = str(error)[:MAX_REASON_CHARACTERS] or type(error).__name__
            return _fail(f"The connection failed: {reason}.")

    async def _post(self, client: httpx.AsyncClient, delivery: Delivery, secrets: tuple[str, ...]) -> Answer:
        body = compose_body(delivery, public_url=self._public_url)
        now = datetime.now(UTC)
        headers = sign_message(name_message(delivery), body, secrets, now=now)
        url = delivery.new_job.webhook_url or ""
        async with client.stream("POST", url, content=body, headers=headers) as response:
            status = response.status_code
            retry_after_s = read_retry_after(response.headers.get("retry-after"), now=now)
        return Answer(DeliveryOutcome(status=status), judge_status(status), retry_after_s)

    @asynccontextmanager
    async def _borrow_client(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client with room for one more connection, so that no request waits for those of others."""
        client = next((known for known, used in self._clients.items() if used < MAX_CONNECTIONS), None)
        if client is None:
            client = self._open_client()
            self._clients[client] = 0
        self._clients[client] += 1
        try:
            yield client
        finally:
            self._clients[client] -= 1


def _fail(reason: str) -> Answer:
    return Answer(DeliveryOutcome(error=reason), Fate.RETRY)
