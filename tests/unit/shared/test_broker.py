"""Celery uses the same Redis as the record, and a ticket that cannot be sent does no harm."""

import tempfile
from pathlib import Path

import pytest
import redis

from shared.broker import QUEUE_NAME, TicketSender, create_celery, send_ticket, to_kombu_url
from tests.support.patience import wait_until
from tests.support.redis_fixture import RedisServer


@pytest.mark.parametrize(
    ("redis_url", "kombu_url"),
    [
        ("redis://:secret@example.org:6379/2", "redis://:secret@example.org:6379/2"),
        ("rediss://example.org/0", "rediss://example.org/0"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=0"),
        ("unix:///run/redis.sock?db=3", "redis+socket:///run/redis.sock?virtual_host=3"),
        ("unix:///a%20b/redis.sock?db=0", "redis+socket:///a%20b/redis.sock?virtual_host=0"),
    ],
)
def test_the_broker_is_the_redis_of_the_job_record(redis_url: str, kombu_url: str) -> None:
    assert to_kombu_url(redis_url) == kombu_url


def test_a_ticket_lies_in_the_queue_until_a_worker_takes_it(redis_url: str) -> None:
    assert send_ticket(create_celery(redis_url)) is True
    with redis.Redis.from_url(redis_url) as connection:
        assert connection.llen(QUEUE_NAME) == 1


async def test_one_ticket_serves_all_jobs_of_a_moment(redis_url: str) -> None:
    tickets = TicketSender(create_celery(redis_url))
    with redis.Redis.from_url(redis_url) as connection:
        for _ in range(5):
            tickets.send_soon()
        await wait_until(lambda: connection.llen(QUEUE_NAME) == 1)
        tickets.send_soon()
        await wait_until(lambda: connection.llen(QUEUE_NAME) == 2)


@pytest.mark.full
def test_a_ticket_that_cannot_be_sent_is_only_reported() -> None:
    assert send_ticket(create_celery("unix:///nowhere/redis.sock")) is False


def test_a_socket_may_lie_in_a_folder_with_a_space_in_its_name() -> None:
    with tempfile.TemporaryDirectory(prefix="with a space ") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            assert send_ticket(create_celery(server.url)) is True
        finally:
            server.kill()
