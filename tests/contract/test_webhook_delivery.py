"""What becomes of a delivery, whatever the receiver does: a real receiver, a real record, no worker."""

import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from standardwebhooks import WebhookVerificationError

from api.errors.urls import Refusal, UrlRefused
from api.settings import ApiSettings
from api.webhooks.runtime import WebhookRuntime
from api.webhooks.slots import MAX_TO_A_RECEIVER, MAX_TO_ALL
from shared.jobs import (
    DeliveryTry,
    Endpoint,
    Failure,
    FailureCode,
    NewJob,
    Priority,
    TranscriptionRequest,
    Upload,
)
from shared.record import transitions
from shared.record.admission import submit_job
from shared.record.connection import connect
from shared.record.deliveries import Standing
from shared.record.scripts import ScriptRunner
from tests.support.many_names import DOMAIN as MANY
from tests.support.many_names import ManyNames
from tests.support.receiver import SECRET, Receiver, Reply
from tests.support.server import find_free_port, wait_for
from tests.support.slow_names import DOMAIN, SlowNames

OWN_SECRET = "whsec_YW5vdGhlciBzZWNyZXQsIG9mIG9uZSBBUEkga2V5IG9ubHk="  # noqa: S105 - of tests
METADATA = {"order": 17, "empty": [], "ü": {"deep": None}}
FAILURE = Failure(FailureCode.ENGINE_ERROR, "it failed")


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
        runtime = WebhookRuntime(ApiSettings.model_validate(given))
        runtime.start()
        try:
            yield
        finally:
            runtime.stop()

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
        claim = self.runner.run(transitions.claim_job("w", engine="e", model="m", lease_s=60))
        assert claim
        if failure:
            self.runner.run(transitions.finish_failed(claim, failure, ttl_s=60))
        else:
            self.runner.run(transitions.finish_succeeded(claim, ttl_s=60))
        return job_id

    def tries(self, job_id: str) -> tuple[DeliveryTry, ...]:
        """The log of a job's delivery."""
        job = self.runner.run(transitions.read_job(job_id))
        assert job
        return job.deliveries

    def wait_for_end(self, job_id: str) -> tuple[DeliveryTry, ...]:
        """The log, once there will be no further try."""

        def look() -> tuple[DeliveryTry, ...] | None:
            tries = self.tries(job_id)
            return tries if tries and tries[-1].next_ms is None else None

        return wait_for(look, what="the end of the delivery")


@pytest.fixture
def bed(redis_url: str, tmp_path: Path) -> Bed:
    """An empty record."""
    return Bed(redis_url, tmp_path)


@pytest.fixture
def receive() -> Iterator[Callable[..., Receiver]]:
    """Makes receivers that listen."""
    with ExitStack() as listening:
        yield lambda *replies: listening.enter_context(Receiver(*replies))


def test_a_receiver_is_told_how_the_job_ended_and_can_verify_it(
    bed: Bed, receive: Callable[..., Receiver]
) -> None:
    receiver = receive()
    with bed.deliver(public_url="https://asr.example.com/"):
        job_id = bed.end_job(receiver.url)
        [tried] = bed.wait_for_end(job_id)
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
    assert (tried.attempt, tried.outcome.status, tried.outcome.error) == (1, 200, None)


def test_a_failed_job_says_why_and_the_link_is_a_path_by_default(
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


def test_a_key_whose_secret_is_not_known_yet_is_waited_for_and_no_other_signs(
    bed: Bed, receive: Callable[..., Receiver]
) -> None:
    receiver = receive()
    with bed.deliver(webhook_retries_s=",".join(["0.05"] * 1000)):
        job_id = bed.end_job(receiver.url, key_name="lab", has_own_secret=True)
        first, *_ = wait_for(lambda: bed.tries(job_id), what="a try")
    assert first.outcome.error
    assert "The secret of its API key is not known" in first.outcome.error
    assert receiver.received == []
    with bed.deliver(
        api_keys=f"lab=k3y-0123456789abcdef webhook_secret={OWN_SECRET}",
        webhook_retries_s=",".join(["0.05"] * 1000),
    ):
        bed.wait_for_end(job_id)
    [received] = receiver.received
    assert received.verify(OWN_SECRET)


def test_while_a_secret_is_changed_both_verify(bed: Bed, receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    with bed.deliver(webhook_secret=f"{OWN_SECRET},{SECRET}"):
        bed.wait_for_end(bed.end_job(receiver.url))
    [received] = receiver.received
    assert received.verify(SECRET) == received.verify(OWN_SECRET)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_an_error_that_may_pass_is_tried_again_with_the_same_message(
    bed: Bed, receive: Callable[..., Receiver], status: int
) -> None:
    receiver = receive(Reply(status), Reply(201))
    with bed.deliver():
        tries = bed.wait_for_end(bed.end_job(receiver.url))
    first, second = receiver.received
    assert (first.message_id, first.body) == (second.message_id, second.body)
    assert second.verify()
    assert [tried.outcome.status for tried in tries] == [status, 201]
    assert tries[0].next_ms is not None
    assert tries[1].at_ms >= tries[0].next_ms


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 410, 422])
def test_a_refusal_ends_the_delivery_and_a_redirect_is_one(
    bed: Bed, receive: Callable[..., Receiver], status: int
) -> None:
    elsewhere = receive()
    receiver = receive(Reply(status, {"Location": elsewhere.url}))
    with bed.deliver():
        [tried] = bed.wait_for_end(bed.end_job(receiver.url))
    assert tried.outcome.status == status
    assert len(receiver.received) == 1
    assert elsewhere.received == []


def test_a_receiver_that_never_takes_it_is_given_up_in_the_end(
    bed: Bed, receive: Callable[..., Receiver]
) -> None:
    receiver = receive(Reply(500))
    with bed.deliver():
        tries = bed.wait_for_end(bed.end_job(receiver.url))
    assert [tried.attempt for tried in tries] == [1, 2, 3]
    assert len(receiver.received) == 3


def test_a_receiver_can_ask_for_more_time(bed: Bed, receive: Callable[..., Receiver]) -> None:
    receiver = receive(Reply(429, {"Retry-After": "1"}), Reply())
    with bed.deliver():
        first, second = bed.wait_for_end(bed.end_job(receiver.url))
    assert second.at_ms - first.at_ms >= 1_000


def test_nobody_listening_is_tried_again(bed: Bed) -> None:
    with bed.deliver():
        tries = bed.wait_for_end(bed.end_job(f"http://127.0.0.1:{find_free_port()}/"))
    assert len(tries) == 3
    assert tries[0].outcome.error
    assert "The connection failed" in tries[0].outcome.error


@pytest.mark.parametrize("manner", ["hang", "trickle"])
def test_a_receiver_has_so_much_time_in_all(bed: Bed, receive: Callable[..., Receiver], manner: str) -> None:
    receiver = receive(Reply(manner=manner))
    with bed.deliver(webhook_timeout_s=0.3, webhook_retries_s=""):
        [tried] = bed.wait_for_end(bed.end_job(receiver.url))
    assert tried.outcome.error == "The receiver did not answer within 0.3 s."


def test_of_an_answer_only_the_head_counts(bed: Bed, receive: Callable[..., Receiver]) -> None:
    receiver = receive(Reply(manner="endless"))
    with bed.deliver():
        [tried] = bed.wait_for_end(bed.end_job(receiver.url))
    assert tried.outcome.status == 200


def test_a_receiver_that_hangs_holds_up_no_other(bed: Bed, receive: Callable[..., Receiver]) -> None:
    healthy, hanging = receive(), receive(Reply(), Reply(manner="hang"))
    with bed.deliver(webhook_timeout_s=60):
        bed.wait_for_end(bed.end_job(hanging.url))
        waiting = [bed.end_job(hanging.url) for _ in range(MAX_TO_A_RECEIVER + 3)]
        hanging.wait_for(1 + MAX_TO_A_RECEIVER)
        bed.wait_for_end(bed.end_job(f"http://localhost:{healthy.port}/"))
        assert len(hanging.received) == 1 + MAX_TO_A_RECEIVER
        hanging.release()
        for job_id in waiting:
            bed.wait_for_end(job_id)
    assert len({received.message_id for received in hanging.received}) == 1 + len(waiting)


def test_many_receivers_that_hang_hold_up_no_other(bed: Bed, receive: Callable[..., Receiver]) -> None:
    hanging, healthy = receive(Reply(manner="hang")), receive()
    with bed.deliver(webhook_timeout_s=60), ManyNames():
        for _ in range(10):
            for host in range(24):
                bed.end_job(f"http://h{host}.{MANY}:{hanging.port}/")
        hanging.wait_for(24)
        bed.wait_for_end(bed.end_job(healthy.url))
    assert len({received.headers["host"] for received in hanging.received}) == 24
    assert len(hanging.received) == 24


@pytest.mark.full
def test_the_ports_of_one_host_are_one_receiver(bed: Bed, receive: Callable[..., Receiver]) -> None:
    hanging, healthy = [receive(Reply(manner="hang")) for _ in range(3)], receive()
    with bed.deliver(webhook_timeout_s=60):
        for receiver in hanging:
            bed.end_job(receiver.url)
        wait_for(lambda: any(receiver.received for receiver in hanging), what="the first of them")
        bed.wait_for_end(bed.end_job(f"http://localhost:{healthy.port}/"))
        assert sum(len(receiver.received) for receiver in hanging) == 1


@pytest.mark.full
def test_however_many_new_receivers_hang_one_that_is_known_to_be_quick_is_told(
    bed: Bed, receive: Callable[..., Receiver]
) -> None:
    hanging, healthy = receive(Reply(manner="hang")), receive()
    most = MAX_TO_ALL[Standing.NEW]
    with bed.deliver(webhook_timeout_s=60), ManyNames():
        bed.wait_for_end(bed.end_job(healthy.url))
        for host in range(3 * most):
            bed.end_job(f"http://h{host}.{MANY}:{hanging.port}/")
        hanging.wait_for(most)
        bed.wait_for_end(bed.end_job(healthy.url))
        assert len(hanging.received) == most


@pytest.mark.full
def test_receivers_that_were_slow_share_a_few_places_and_leave_those_for_new_ones(
    bed: Bed, receive: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.webhooks.slots.MAX_TO_ALL", {Standing.NEW: 6, Standing.SLOW: 2})
    hanging, healthy = receive(Reply(manner="hang")), receive()
    urls = [f"http://h{host}.{MANY}:{hanging.port}/" for host in range(5)]
    with ManyNames():
        with bed.deliver(webhook_timeout_s=0.5, webhook_retries_s=""):
            for job_id in [bed.end_job(url) for url in urls]:
                bed.wait_for_end(job_id)
        so_far = len(hanging.received)
        with bed.deliver(webhook_timeout_s=60):
            for url in urls:
                bed.end_job(url)
            hanging.wait_for(so_far + 2)
            bed.wait_for_end(bed.end_job(healthy.url))
            assert len(hanging.received) == so_far + 2


@pytest.mark.full
def test_one_api_key_leaves_room_for_others(
    bed: Bed, receive: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.webhooks.slots.MAX_OF_A_KEY", 2)
    hanging, healthy = receive(Reply(manner="hang")), receive()
    with bed.deliver(webhook_timeout_s=60), ManyNames():
        for host in range(5):
            bed.end_job(f"http://h{host}.{MANY}:{hanging.port}/", key_name="lab")
        hanging.wait_for(2)
        bed.wait_for_end(bed.end_job(healthy.url, key_name="shop"))
        assert len(hanging.received) == 2


def test_a_name_whose_look_up_hangs_holds_up_no_other_and_is_said_to_be_unknown(
    bed: Bed, receive: Callable[..., Receiver]
) -> None:
    healthy = receive()
    with bed.deliver(webhook_timeout_s=3, webhook_retries_s=""), SlowNames() as names:
        hanging = [bed.end_job(f"http://a{count}.{DOMAIN}/") for count in range(20)]
        names.wait_for(1)
        [delivered] = bed.wait_for_end(bed.end_job(f"http://localhost:{healthy.port}/"))
        [failed] = bed.wait_for_end(hanging[0])
    assert delivered.outcome.status == 200
    assert failed.outcome.error == UrlRefused(Refusal.UNRESOLVED, param="webhook_url").message


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"]
)
def test_a_private_address_is_refused_by_default(
    bed: Bed, receive: Callable[..., Receiver], host: str
) -> None:
    receiver = receive()
    with bed.deliver(allow_private_addresses=False):
        [tried] = bed.wait_for_end(bed.end_job(f"http://{host}:{receiver.port}/"))
    assert tried.outcome.error == UrlRefused(Refusal.PRIVATE, param="webhook_url").message
    assert receiver.received == []


def test_a_delivery_that_was_cut_short_is_made_again_and_said_so(
    bed: Bed, receive: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.webhooks.runtime.STOP_GRACE_S", 0.01)
    monkeypatch.setattr("api.webhooks.runtime.REPORT_WITHIN_S", 0.1)
    receiver = receive(Reply(manner="hang"), Reply())
    with bed.deliver(webhook_timeout_s=0.5):
        job_id = bed.end_job(receiver.url)
        receiver.wait_for()
    with bed.deliver():
        tries = bed.wait_for_end(job_id)
    assert tries[0].outcome.error
    assert "interrupted" in tries[0].outcome.error
    assert tries[-1].outcome.status == 200
    assert len({received.message_id for received in receiver.received}) == 1


def test_deliveries_of_a_time_without_deliverer_are_made_when_there_is_one(
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
