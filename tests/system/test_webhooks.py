"""Callbacks of a whole server: they arrive, cost the worker nothing, and survive kill -9."""

import signal
from collections.abc import Callable
from typing import Any

import pytest
import redis

from shared.broker import DELIVERY_QUEUE_NAME
from tests.support.audio import make_tones, write_wav
from tests.support.endpoints import read_success, submit
from tests.support.receiver import SECRET, Receiver, Reply
from tests.support.server import RealServer, wait_for

FILE = write_wav(make_tones(2))
OWN_SECRET = "whsec_YW5vdGhlciBzZWNyZXQsIG9mIG9uZSBBUEkga2V5IG9ubHk="  # noqa: S105 - of tests
SETTINGS = {
    "WEBHOOK_SECRET": SECRET,
    "WEBHOOK_RETRIES_S": "0.1,0.1,0.1",
    "ALLOW_PRIVATE_ADDRESSES": "true",
    "PUBLIC_URL": "https://asr.example.com",
}


@pytest.fixture
def server(make_server: Callable[..., RealServer]) -> RealServer:
    """A server that sends callbacks to this machine, and does not deliver yet."""
    return make_server(**SETTINGS).start()


def wait_for_deliveries(server: RealServer, location: str) -> list[dict[str, Any]]:
    """The tries of a delivery that has come to its end."""

    def look() -> list[dict[str, Any]] | None:
        tries: list[dict[str, Any]] = server.client.get(location).json()["deliveries"]
        return tries if tries and tries[-1]["next_at"] is None else None

    return wait_for(look, what="the end of the delivery")


def test_a_callback_tells_of_the_end_of_a_job_and_the_job_of_the_callback(server: RealServer) -> None:
    server.start_webhooks()
    with Receiver(Reply(503), Reply()) as receiver:
        location = submit(server, FILE, webhook_url=receiver.url, metadata='{"order": 17}')
        first, second = wait_for_deliveries(server, location)
    body = receiver.received[-1].verify()
    assert body["type"] == "job.succeeded"
    assert body["data"]["url"] == f"https://asr.example.com{location}"
    assert body["data"]["metadata"] == {"order": 17}
    assert "text" not in str(body)
    assert (first["attempt"], first["status"], first["error"]) == (1, 503, None)
    assert (second["attempt"], second["status"], second["next_at"]) == (2, 200, None)
    assert first["at"] < first["next_at"] <= second["at"]
    with redis.Redis.from_url(server.redis.url) as connection:
        wait_for(lambda: connection.llen(DELIVERY_QUEUE_NAME) == 0, what="the taking of the ticket")


@pytest.mark.full
def test_a_callback_that_comes_late_leads_to_a_transcript(make_server: Callable[..., RealServer]) -> None:
    server = make_server(**SETTINGS, JOB_TTL_S="1").start()
    with Receiver(Reply(503), Reply(503), Reply()) as receiver:
        server.start_webhooks(WEBHOOK_RETRIES_S="1,1")
        location = submit(server, FILE, webhook_url=receiver.url)
        receiver.wait_for(3)
        assert server.client.get(location).json()["state"] == "succeeded"
        wait_for(lambda: server.client.get(location).status_code == 410, what="the end of the job")


@pytest.mark.full
def test_a_callback_is_not_signed_with_another_secret_until_that_of_its_key_is_known(
    make_server: Callable[..., RealServer],
) -> None:
    key = "k3y-0123456789abcdef"
    server = make_server(**SETTINGS, API_KEYS=f"lab={key} webhook_secret={OWN_SECRET}").start()
    server.client.headers["Authorization"] = f"Bearer {key}"
    often = {"WEBHOOK_RETRIES_S": ",".join(["0.1"] * 1000)}
    with Receiver() as receiver:
        deliverer = server.start_webhooks(API_KEYS=f"lab={key}", **often)
        location = submit(server, FILE, webhook_url=receiver.url)
        first, *_ = wait_for(lambda: server.client.get(location).json()["deliveries"], what="a try")
        server.end(deliverer, signal.SIGTERM)
        assert "secret of its API key" in first["error"]
        assert receiver.received == []
        server.start_webhooks(**often)
        [received] = receiver.wait_for()
    assert received.verify(OWN_SECRET)


def test_a_receiver_that_hangs_costs_the_worker_nothing(server: RealServer) -> None:
    server.start_webhooks()
    with Receiver(Reply(manner="hang")) as receiver:
        told = submit(server, FILE, webhook_url=receiver.url)
        receiver.wait_for()
        read_success(server, submit(server, FILE))
        assert server.client.get(told).json()["deliveries"] == []
        receiver.release()
        assert [tried["status"] for tried in wait_for_deliveries(server, told)] == [200]


def test_a_job_that_is_cancelled_in_the_queue_is_told_as_well(server: RealServer) -> None:
    server.start_webhooks()
    with Receiver() as receiver:
        server.worker.send_signal(signal.SIGSTOP)
        queued = submit(server, FILE, webhook_url=receiver.url)
        assert server.client.delete(queued).json()["state"] == "cancelled"
        [received] = receiver.wait_for()
    assert received.verify()["type"] == "job.cancelled"


@pytest.mark.full
def test_kill_9_in_the_middle_of_a_delivery_repeats_it_and_loses_nothing(server: RealServer) -> None:
    settings = {"WEBHOOK_TIMEOUT_S": "3"}  # the lease is a little longer
    with Receiver(Reply(manner="hang"), Reply()) as receiver:
        deliverer = server.start_webhooks(**settings)
        location = submit(server, FILE, webhook_url=receiver.url)
        receiver.wait_for()
        server.end(deliverer, signal.SIGKILL)
        server.start_webhooks(**settings)
        tries = wait_for_deliveries(server, location)
    assert len(receiver.received) == 2
    assert len({received.message_id for received in receiver.received}) == 1
    assert [tried["status"] for tried in tries] == [None, 200]
    assert "interrupted" in tries[0]["error"]


@pytest.mark.full
def test_however_often_the_deliverer_is_killed_each_callback_comes_and_is_logged_once_for_each_try(
    server: RealServer,
) -> None:
    settings = {"WEBHOOK_TIMEOUT_S": "1", "WEBHOOK_RETRIES_S": ",".join(["0.05"] * 50)}
    failures = [Reply(status) for status in (500, 200, 503, 200, 429) * 10]
    with Receiver(*failures, Reply()) as receiver:
        deliverer = server.start_webhooks(**settings)
        told = [submit(server, FILE, webhook_url=receiver.url) for _ in range(30)]
        for so_far in range(5, 30, 5):
            receiver.wait_for(so_far)
            server.end(deliverer, signal.SIGKILL)
            deliverer = server.start_webhooks(**settings)
        logs = [wait_for_deliveries(server, location) for location in told]
    for location, tries in zip(told, logs, strict=True):
        sent = [got for got in receiver.received if got.verify()["data"]["url"].endswith(location)]
        assert len({got.body for got in sent}) == len({got.message_id for got in sent}) == 1
        assert [tried["attempt"] for tried in tries] == list(range(1, len(tries) + 1))
        assert [tried["status"] for tried in tries].count(200) == 1
        assert len(sent) <= len(tries)


@pytest.mark.full
def test_sigterm_ends_the_deliverer_soon_though_a_receiver_hangs(server: RealServer) -> None:
    with Receiver(Reply(manner="hang")) as receiver:
        deliverer = server.start_webhooks()
        submit(server, FILE, webhook_url=receiver.url)
        receiver.wait_for()
        assert server.end(deliverer, signal.SIGTERM) == 0


def test_callbacks_go_on_after_redis_was_killed(server: RealServer) -> None:
    server.start_webhooks()
    with Receiver(Reply(manner="hang"), Reply()) as receiver:
        location = submit(server, FILE, webhook_url=receiver.url)
        receiver.wait_for()
        server.redis.kill()
        receiver.release()
        server.redis.start()
        tries = wait_for_deliveries(server, location)
    assert tries[-1]["status"] == 200
    assert len({received.message_id for received in receiver.received}) == 1
