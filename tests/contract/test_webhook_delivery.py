"""Deliveries to receivers that behave in all kinds of ways: real receivers, a real record, no worker."""

import asyncio
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from standardwebhooks import WebhookVerificationError

from api.access.api_keys import read_api_keys
from api.errors.urls import Refusal, UrlRefused
from api.outbound.clients import LOOKUP_SHARE
from api.settings import ApiSettings
from api.streams.event_hub import EventHub
from api.webhooks.deliverer import MAX_ATTEMPTS_PER_HOST, open_deliverer
from api.webhooks.sender import compose_body
from shared.jobs import (
    DeliveryAttempt,
    Endpoint,
    Failure,
    FailureCode,
    JobState,
    NewJob,
    Priority,
    TranscriptionRequest,
    Upload,
)
from shared.record import transitions
from shared.record.admission import submit_job
from shared.record.connection import connect, open_async_connection
from shared.record.deliveries import claim_delivery
from shared.record.scripts import AsyncScriptRunner, ScriptRunner
from tests.support.log_lines import capture_log_lines
from tests.support.names import LOCAL_DOMAIN, SILENT_DOMAIN, StandInNames
from tests.support.receiver import SECRET, Receiver, Reply
from tests.support.record_readings import read_job
from tests.support.server import find_free_port, wait_for
from tests.support.single_claims import claim_job

OWN_SECRET = "whsec_YW5vdGhlciBzZWNyZXQsIG9mIG9uZSBBUEkga2V5IG9ubHk="  # noqa: S105 - of tests
METADATA = {"order": 17, "empty": [], "ü": {"deep": None}}
GRACE_S = 0.01
FAILURE = Failure(FailureCode.ENGINE_ERROR, "it failed")


class DeliveryTask:
    """The deliverer as an api process runs it, until `stop`."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._is_stopped = threading.Event()

    async def run(self) -> None:
        """Deliver on the running event loop."""
        settings = self._settings
        hub, connection = EventHub(settings.redis_url), open_async_connection(settings.redis_url)
        deliverer = open_deliverer(
            settings,
            read_api_keys(settings.api_keys.get_secret_value()),
            AsyncScriptRunner(connection),
            wake_up=hub.deliveries_due,
        )
        tasks = [asyncio.create_task(part.run()) for part in (hub, deliverer)]
        await asyncio.get_running_loop().run_in_executor(None, self._is_stopped.wait)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await deliverer.finish(grace_s=GRACE_S)
        await connection.aclose()

    def stop(self) -> None:
        """Cancel the task as the api does at its stop."""
        self._is_stopped.set()


class Bed:
    """A record, and a deliverer that is started and stopped at will."""

    def __init__(self, redis_url: str, data_dir: Path) -> None:
        self._redis_url = redis_url
        self._data_dir = data_dir
        self.runner: ScriptRunner = connect(redis_url)

    @contextmanager
    def deliver(self, **settings: object) -> Iterator[None]:
        """Deliver with these settings within the `with` block, to private addresses too."""
        given = {
            "redis_url": self._redis_url,
            "data_dir": self._data_dir,
            "webhook_secret": SECRET,
            "webhook_retries_s": "0.05,0.05",
            "allow_private_addresses": True,
            **settings,
        }
        task = DeliveryTask(ApiSettings.model_validate(given))
        thread = threading.Thread(target=asyncio.run, args=(task.run(),))
        thread.start()
        try:
            yield
        finally:
            task.stop()
            thread.join()

    def end_job(
        self, url: str, *, failure: Failure | None = None, key_name: str = "", has_own_secret: bool = False
    ) -> str:
        """Let a job with this `webhook_url` come to its end; answers its id."""
        job_id = uuid.uuid4().hex
        upload = Upload(job_id, "talk.wav", size_bytes=10, sha256="00", duration_s=10.0)
        request = TranscriptionRequest()
        job = NewJob(
            job_id, Endpoint.JOBS, Priority.BATCH, upload, request, key_name, METADATA, url, has_own_secret
        )
        self.runner.run(submit_job(job))
        claim = self.runner.run(claim_job("w", engine="e", model="m", lease_s=60))
        assert claim
        if failure:
            self.runner.run(transitions.finish_job(claim, JobState.FAILED, failure=failure, ttl_s=60))
        else:
            self.runner.run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=60))
        return job_id

    def attempts(self, job_id: str) -> tuple[DeliveryAttempt, ...]:
        """The log of a job's delivery."""
        job = self.runner.run(read_job(job_id))
        assert job
        return job.deliveries

    def wait_for_end(self, job_id: str) -> tuple[DeliveryAttempt, ...]:
        """The log, once no further attempt follows."""

        def look() -> tuple[DeliveryAttempt, ...] | None:
            attempts = self.attempts(job_id)
            return attempts if attempts and attempts[-1].next_ms is None else None

        return wait_for(look, what="the end of the delivery")


@pytest.fixture
def bed(redis_url: str, tmp_path: Path) -> Bed:
    """An empty record."""
    # The apis that other tests left running deliver too, but only from database 0.
    return Bed(redis_url.replace("db=0", "db=1"), tmp_path)


@pytest.fixture
def receive() -> Iterator[Callable[..., Receiver]]:
    """Makes receivers that listen."""
    with ExitStack() as listening:
        yield lambda *replies: listening.enter_context(Receiver(*replies))


def test_a_receiver_gets_the_end_of_the_job_and_can_verify_it(
    bed: Bed, receive: Callable[..., Receiver]
) -> None:
    receiver = receive()
    with bed.deliver(public_url="https://asr.example.com/"):
        job_id = bed.end_job(receiver.url)
        [made] = bed.wait_for_end(job_id)
    [received] = receiver.received
    body = received.verify()
    timestamp = body.pop("timestamp")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", timestamp)
    assert body == {
        "type": "job.succeeded",
        "data": {
            "id": job_id,
            "state": "succeeded",
            "url": f"https://asr.example.com/v1/jobs/{job_id}",
            "error": None,
            "metadata": METADATA,
        },
    }
    assert (received.path, received.message_id) == ("/hook", f"msg_{job_id}")
    assert received.headers["content-type"] == "application/json"
    assert (made.attempt, made.outcome.status, made.outcome.error) == (1, 200, None)


def test_a_failed_job_has_its_error_and_the_link_is_a_path_by_default(
    bed: Bed, receive: Callable[..., Receiver]
) -> None:
    receiver = receive()
    with bed.deliver():
        job_id = bed.end_job(receiver.url, failure=FAILURE)
        bed.wait_for_end(job_id)
    body = receiver.received[0].verify()
    assert body["type"] == "job.failed"
    assert body["data"]["url"] == f"/v1/jobs/{job_id}"
    assert body["data"]["error"] == {"code": "engine_error", "message": "it failed"}


def test_an_api_key_may_have_a_secret_of_its_own(bed: Bed, receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    keys = f"lab=k3y-0123456789abcdef webhook_secret={OWN_SECRET},shop=k3y-fedcba9876543210"
    with bed.deliver(api_keys=keys):
        for key_name in ("lab", "shop"):
            bed.wait_for_end(bed.end_job(receiver.url, key_name=key_name))
    lab, shop = receiver.received
    assert lab.verify(OWN_SECRET)
    assert shop.verify(SECRET)
    with pytest.raises(WebhookVerificationError):
        lab.verify(SECRET)


def test_no_other_secret_signs_while_that_of_the_key_is_unknown(
    bed: Bed, receive: Callable[..., Receiver]
) -> None:
    receiver = receive()
    with bed.deliver():
        job_id = bed.end_job(receiver.url, key_name="lab", has_own_secret=True)
        bed.wait_for_end(bed.end_job(receiver.url))
    assert bed.attempts(job_id) == ()
    with bed.deliver(api_keys=f"lab=k3y-0123456789abcdef webhook_secret={OWN_SECRET}"):
        [made] = bed.wait_for_end(job_id)
    assert made.attempt == 1
    assert [received.message_id for received in receiver.received][1:] == [f"msg_{job_id}"]
    assert receiver.received[1].verify(OWN_SECRET)


def test_an_api_without_a_secret_leaves_a_delivery_to_one_that_has_it(
    bed: Bed, receive: Callable[..., Receiver]
) -> None:
    receiver = receive()
    with capture_log_lines() as lines, bed.deliver(webhook_secret=""):
        job_id = bed.end_job(receiver.url)
        wait_for(lambda: any(line["event"] == "deliveries_unsigned" for line in lines))
        with bed.deliver():
            [made] = bed.wait_for_end(job_id)
    assert (made.attempt, made.outcome.status) == (1, 200)


def test_both_secrets_verify_during_a_change(bed: Bed, receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    with bed.deliver(webhook_secret=f"{OWN_SECRET},{SECRET}"):
        bed.wait_for_end(bed.end_job(receiver.url))
    [received] = receiver.received
    assert received.verify(SECRET) == received.verify(OWN_SECRET)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_temporary_error_is_followed_by_the_same_message_again(
    bed: Bed, receive: Callable[..., Receiver], status: int
) -> None:
    receiver = receive(Reply(status), Reply(201))
    with bed.deliver():
        attempts = bed.wait_for_end(bed.end_job(receiver.url))
    first, second = receiver.received
    assert (first.message_id, first.body) == (second.message_id, second.body)
    assert second.verify()
    assert [made.outcome.status for made in attempts] == [status, 201]
    assert attempts[0].next_ms is not None
    assert attempts[1].at_ms >= attempts[0].next_ms


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 410, 422])
def test_a_refusal_or_a_redirect_ends_the_delivery(
    bed: Bed, receive: Callable[..., Receiver], status: int
) -> None:
    elsewhere = receive()
    receiver = receive(Reply(status, {"Location": elsewhere.url}))
    with bed.deliver():
        [made] = bed.wait_for_end(bed.end_job(receiver.url))
    assert made.outcome.status == status
    assert len(receiver.received) == 1
    assert elsewhere.received == []


def test_a_receiver_that_always_fails_is_given_up_after_the_plan(
    bed: Bed, receive: Callable[..., Receiver]
) -> None:
    receiver = receive(Reply(500))
    with bed.deliver():
        attempts = bed.wait_for_end(bed.end_job(receiver.url))
    assert [made.attempt for made in attempts] == [1, 2, 3]
    assert len(receiver.received) == 3


def test_a_receiver_can_ask_for_more_time(bed: Bed, receive: Callable[..., Receiver]) -> None:
    receiver = receive(Reply(429, {"Retry-After": "1"}), Reply())
    with bed.deliver():
        first, second = bed.wait_for_end(bed.end_job(receiver.url))
    assert second.at_ms - first.at_ms >= 1_000


def test_a_refused_connection_is_attempted_again(bed: Bed) -> None:
    with bed.deliver():
        attempts = bed.wait_for_end(bed.end_job(f"http://127.0.0.1:{find_free_port()}/"))
    assert len(attempts) == 3
    assert attempts[0].outcome.error
    assert "The connection failed" in attempts[0].outcome.error


@pytest.mark.parametrize("manner", ["hang", "trickle"])
def test_an_attempt_has_a_time_limit_in_all(bed: Bed, receive: Callable[..., Receiver], manner: str) -> None:
    receiver = receive(Reply(manner=manner))
    with bed.deliver(webhook_timeout_s=0.3, webhook_retries_s=""):
        [made] = bed.wait_for_end(bed.end_job(receiver.url))
    assert made.outcome.error == "The receiver did not answer within 0.3 s."


def test_only_the_head_of_an_answer_is_read(bed: Bed, receive: Callable[..., Receiver]) -> None:
    receiver = receive(Reply(manner="endless"))
    with bed.deliver():
        [made] = bed.wait_for_end(bed.end_job(receiver.url))
    assert made.outcome.status == 200


def test_a_receiver_that_hangs_holds_up_no_other(bed: Bed, receive: Callable[..., Receiver]) -> None:
    healthy, hanging = receive(), receive(Reply(manner="hang"))
    with bed.deliver(webhook_timeout_s=60):
        waiting = [bed.end_job(hanging.url) for _ in range(MAX_ATTEMPTS_PER_HOST + 3)]
        hanging.wait_for(MAX_ATTEMPTS_PER_HOST)
        bed.wait_for_end(bed.end_job(f"http://localhost:{healthy.port}/"))
        assert len(hanging.received) == MAX_ATTEMPTS_PER_HOST
        hanging.release()
        for job_id in waiting:
            bed.wait_for_end(job_id)
    assert len({received.message_id for received in hanging.received}) == len(waiting)


def test_twenty_receivers_that_hang_hold_up_no_other(bed: Bed, receive: Callable[..., Receiver]) -> None:
    hanging, healthy = receive(Reply(manner="hang")), receive()
    with bed.deliver(webhook_timeout_s=60), StandInNames():
        for _ in range(2 * MAX_ATTEMPTS_PER_HOST):
            for host in range(20):
                bed.end_job(f"http://h{host}.{LOCAL_DOMAIN}:{hanging.port}/")
        hanging.wait_for(20 * MAX_ATTEMPTS_PER_HOST)
        bed.wait_for_end(bed.end_job(healthy.url))
        assert len(hanging.received) == 20 * MAX_ATTEMPTS_PER_HOST


def test_a_host_has_its_turn_before_the_backlog_of_others(
    bed: Bed, receive: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.webhooks.deliverer.MAX_ATTEMPTS_AT_ONCE", 2)
    hanging, healthy = receive(Reply(manner="hang")), receive()
    with bed.deliver(webhook_timeout_s=60), StandInNames():
        others = [bed.end_job(f"http://h{number % 2}.{LOCAL_DOMAIN}:{hanging.port}/") for number in range(20)]
        hanging.wait_for(2)
        in_turn = bed.end_job(healthy.url)
        hanging.release()
        [made] = bed.wait_for_end(in_turn)
        [last] = bed.wait_for_end(others[-1])
    assert made.at_ms <= last.at_ms


@pytest.mark.full
def test_the_ports_of_one_host_are_one_receiver(bed: Bed, receive: Callable[..., Receiver]) -> None:
    hanging, healthy = [receive(Reply(manner="hang")) for _ in range(3)], receive()
    with bed.deliver(webhook_timeout_s=60):
        for _ in range(MAX_ATTEMPTS_PER_HOST):
            for receiver in hanging:
                bed.end_job(receiver.url)
        wait_for(lambda: _count_received(hanging) >= MAX_ATTEMPTS_PER_HOST, what="the first of them")
        bed.wait_for_end(bed.end_job(f"http://localhost:{healthy.port}/"))
        assert _count_received(hanging) == MAX_ATTEMPTS_PER_HOST


def _count_received(receivers: list[Receiver]) -> int:
    return sum(len(receiver.received) for receiver in receivers)


def test_an_unforeseen_error_ends_neither_the_task_nor_the_delivery(
    bed: Bed, receive: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_once(works: Callable[..., object]) -> Callable[..., object]:
        faults = [RuntimeError("unforeseen")]

        def call(*args: object, **kwargs: object) -> object:
            if faults:
                raise faults.pop()
            return works(*args, **kwargs)

        return call

    receiver = receive()
    monkeypatch.setattr("api.webhooks.deliverer.claim_delivery", break_once(claim_delivery))
    monkeypatch.setattr("api.webhooks.sender.compose_body", break_once(compose_body))
    with bed.deliver():
        broken, delivered = bed.wait_for_end(bed.end_job(receiver.url))
    assert broken.outcome.error == "An internal error occurred."
    assert delivered.outcome.status == 200


def test_look_ups_that_hang_hold_up_no_other(bed: Bed, receive: Callable[..., Receiver]) -> None:
    healthy = receive()
    with bed.deliver(webhook_timeout_s=60, webhook_retries_s=""), StandInNames() as names:
        hanging = [bed.end_job(f"http://a{count}.{SILENT_DOMAIN}/") for count in range(20)]
        names.wait_for(20)
        [delivered] = bed.wait_for_end(bed.end_job(f"http://localhost:{healthy.port}/"))
        assert [bed.attempts(job_id) for job_id in hanging] == [()] * 20
    assert delivered.outcome.status == 200


def test_a_look_up_that_hangs_is_reported_as_unknown(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LOOKUP_SHARE < 1
    # On a busy machine, the real share can leave too little of the time for the other steps.
    monkeypatch.setattr("api.outbound.clients.LOOKUP_SHARE", 0.01)
    with bed.deliver(webhook_timeout_s=30, webhook_retries_s=""), StandInNames():
        [failed] = bed.wait_for_end(bed.end_job(f"http://a.{SILENT_DOMAIN}/"))
    assert failed.outcome.error == UrlRefused(Refusal.UNRESOLVED, param="webhook_url").message


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"]
)
def test_a_private_address_is_refused_by_default_like_an_unknown_host(
    bed: Bed, receive: Callable[..., Receiver], host: str
) -> None:
    receiver = receive()
    with capture_log_lines() as lines, bed.deliver(allow_private_addresses=False):
        made = bed.wait_for_end(bed.end_job(f"http://{host}:{receiver.port}/"))
    unknown = UrlRefused(Refusal.UNRESOLVED, param="webhook_url").message
    assert [attempt.outcome.error for attempt in made] == [unknown] * 3
    tried = [line for line in lines if line["event"] == "webhook_attempted"]
    assert [line["reason"] for line in tried] == ["private"] * 3
    assert ["next_in_s" in line for line in tried] == [True, True, False]
    assert receiver.received == []


def test_an_interrupted_attempt_is_logged_as_such_and_made_again(
    bed: Bed, receive: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.webhooks.deliverer.REPORT_WITHIN_S", 0.1)
    receiver = receive(Reply(manner="hang"), Reply())
    with bed.deliver(webhook_timeout_s=0.5):
        job_id = bed.end_job(receiver.url)
        receiver.wait_for()
    with bed.deliver():
        attempts = bed.wait_for_end(job_id)
    assert attempts[0].outcome.error
    assert "interrupted" in attempts[0].outcome.error
    assert attempts[-1].outcome.status == 200
    assert len({received.message_id for received in receiver.received}) == 1


def test_deliveries_opened_without_an_api_are_made_once_it_runs(
    bed: Bed, receive: Callable[..., Receiver]
) -> None:
    receiver = receive()
    jobs = [bed.end_job(receiver.url) for _ in range(20)]
    began_s = time.monotonic()
    with bed.deliver():
        for job_id in jobs:
            bed.wait_for_end(job_id)
    assert time.monotonic() - began_s < 60
    assert len(receiver.received) == len(jobs)
