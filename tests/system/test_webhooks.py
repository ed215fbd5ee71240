"""Webhooks of a whole server: they arrive, hold up nothing else, and survive kill -9."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.audio import make_tones, write_wav
from tests.support.endpoints import read_success, submit
from tests.support.receiver import SECRET, Receiver, Reply
from tests.support.server import RealServer, find_free_port, wait_for

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
    """A server that delivers webhooks to this machine."""
    return make_server(**SETTINGS).start()


def wait_for_deliveries(server: RealServer, location: str) -> list[dict[str, Any]]:
    """The attempts of a delivery that has come to its end."""

    def look() -> list[dict[str, Any]] | None:
        attempts: list[dict[str, Any]] = server.client.get(location).json()["deliveries"]
        return attempts if attempts and attempts[-1]["next_at"] is None else None

    return wait_for(look, what="the end of the delivery")


def restart_api(server: RealServer, how: signal.Signals, **settings: str) -> None:
    """End the api, and start it again with these settings."""
    server.end(server.api, how)
    server.api = server.start_api(**settings)
    server.wait_until_ready()


def test_a_webhook_reports_the_end_of_a_job_and_the_job_its_deliveries(server: RealServer) -> None:
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


@pytest.mark.full
def test_a_webhook_that_comes_late_leads_to_a_transcript(make_server: Callable[..., RealServer]) -> None:
    server = make_server(**SETTINGS | {"JOB_TTL_S": "1", "WEBHOOK_RETRIES_S": "1,1"}).start()
    with Receiver(Reply(503), Reply(503), Reply()) as receiver:
        location = submit(server, FILE, webhook_url=receiver.url)
        receiver.wait_for(3)
        assert server.client.get(location).json()["state"] == "succeeded"
        wait_for(lambda: server.client.get(location).status_code == 410, what="the end of the job")


@pytest.mark.full
def test_no_other_secret_signs_until_that_of_the_api_key_is_known(
    make_server: Callable[..., RealServer],
) -> None:
    key = "k3y-0123456789abcdef"
    server = make_server(**SETTINGS, API_KEYS=f"lab={key} webhook_secret={OWN_SECRET}").start()
    server.client.headers["Authorization"] = f"Bearer {key}"
    with Receiver() as receiver:
        server.worker.send_signal(signal.SIGSTOP)
        location = submit(server, FILE, webhook_url=receiver.url)
        server.end(server.api, signal.SIGTERM)
        server.worker.send_signal(signal.SIGCONT)
        server.api = server.start_api(API_KEYS=f"lab={key}")
        server.wait_until_ready()
        wait_for(lambda: "deliveries_unsigned" in server.log_text(), what="the api to leave it")
        assert server.client.get(location).json()["deliveries"] == []
        assert receiver.received == []
        restart_api(server, signal.SIGTERM)
        [received] = receiver.wait_for()
    assert received.verify(OWN_SECRET)


def test_a_receiver_that_hangs_holds_up_neither_requests_nor_the_worker(server: RealServer) -> None:
    with Receiver(Reply(manner="hang")) as receiver:
        location = submit(server, FILE, webhook_url=receiver.url)
        receiver.wait_for()
        read_success(server, submit(server, FILE))
        assert server.client.get(location).json()["deliveries"] == []
        receiver.release()
        assert [made["status"] for made in wait_for_deliveries(server, location)] == [200]


def test_a_job_that_is_cancelled_in_the_queue_has_a_webhook_too(server: RealServer) -> None:
    with Receiver() as receiver:
        server.worker.send_signal(signal.SIGSTOP)
        queued = submit(server, FILE, webhook_url=receiver.url)
        assert server.client.delete(queued).json()["state"] == "cancelled"
        [received] = receiver.wait_for()
    assert received.verify()["type"] == "job.cancelled"


@pytest.mark.full
def test_several_api_processes_deliver_each_webhook_once(server: RealServer) -> None:
    for _ in range(2):
        server.start_api(PORT=str(find_free_port()))
    wait_for(lambda: server.log_text().count("event_hub_connected") >= 3, what="all api processes")
    with Receiver() as receiver:
        locations = [submit(server, FILE, webhook_url=receiver.url) for _ in range(20)]
        logs = [wait_for_deliveries(server, location) for location in locations]
    assert [[made["status"] for made in log] for log in logs] == [[200]] * len(locations)
    assert len(receiver.received) == len({got.message_id for got in receiver.received}) == len(locations)


@pytest.mark.full
def test_kill_9_in_the_middle_of_a_delivery_repeats_it_and_loses_nothing(
    make_server: Callable[..., RealServer],
) -> None:
    server = make_server(**SETTINGS, WEBHOOK_TIMEOUT_S="3").start()  # the lease is a little longer
    with Receiver(Reply(manner="hang"), Reply()) as receiver:
        location = submit(server, FILE, webhook_url=receiver.url)
        receiver.wait_for()
        restart_api(server, signal.SIGKILL)
        attempts = wait_for_deliveries(server, location)
    assert len(receiver.received) == 2
    assert len({received.message_id for received in receiver.received}) == 1
    assert [made["status"] for made in attempts] == [None, 200]
    assert "interrupted" in attempts[0]["error"]


@pytest.mark.full
def test_each_webhook_comes_however_often_the_api_is_killed(
    make_server: Callable[..., RealServer],
) -> None:
    often = {"WEBHOOK_TIMEOUT_S": "1", "WEBHOOK_RETRIES_S": ",".join(["0.05"] * 50)}
    server = make_server(**SETTINGS | often).start()
    failures = [Reply(status) for status in (500, 200, 503, 200, 429) * 10]
    with Receiver(*failures, Reply()) as receiver:
        locations = [submit(server, FILE, webhook_url=receiver.url) for _ in range(30)]
        for so_far in range(5, 30, 5):
            receiver.wait_for(so_far)
            restart_api(server, signal.SIGKILL)
        logs = [wait_for_deliveries(server, location) for location in locations]
    for location, attempts in zip(locations, logs, strict=True):
        sent = [got for got in receiver.received if got.verify()["data"]["url"].endswith(location)]
        assert len({got.body for got in sent}) == len({got.message_id for got in sent}) == 1
        assert [made["attempt"] for made in attempts] == list(range(1, len(attempts) + 1))
        assert [made["status"] for made in attempts].count(200) == 1
        assert len(sent) <= len(attempts)


@pytest.mark.full
def test_sigterm_ends_the_api_though_a_receiver_hangs(make_server: Callable[..., RealServer]) -> None:
    server = make_server(**SETTINGS, WEBHOOK_TIMEOUT_S="600").start()
    with Receiver(Reply(manner="hang")) as receiver:
        submit(server, FILE, webhook_url=receiver.url)
        receiver.wait_for()
        assert server.end(server.api, signal.SIGTERM) == -signal.SIGTERM  # within a minute


def test_deliveries_go_on_after_redis_was_killed(server: RealServer) -> None:
    with Receiver(Reply(manner="hang"), Reply()) as receiver:
        location = submit(server, FILE, webhook_url=receiver.url)
        receiver.wait_for()
        server.redis.kill()
        receiver.release()
        server.redis.start()
        attempts = wait_for_deliveries(server, location)
    assert attempts[-1]["status"] == 200
    assert len({received.message_id for received in receiver.received}) == 1
