"""The record of deliveries: nothing is lost and nothing done twice, on a fake and on a real server."""

from itertools import count, pairwise

import pytest
import redis

from shared.broker import DELIVERY_QUEUE_NAME, create_celery
from shared.jobs import (
    Claim,
    DeliveryOutcome,
    DeliveryTry,
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
from shared.record.connection import connect
from shared.record.deliveries import (
    ClaimTerms,
    Closed,
    Delivery,
    NoneDue,
    Standing,
    claim_delivery,
    end_delivery,
    needs_delivery_ticket,
    put_delivery_off,
)
from shared.record.listing import forget_jobs
from shared.record.scripts import ScriptRunner
from shared.record.sweeper import Sweeper
from shared.settings import SharedSettings
from tests.support.server import wait_for

TERMS = ClaimTerms(lease_s=60, most_tries=3)
SHORT = ClaimTerms(lease_s=0.05, most_tries=3)
TTL_S = 60.0
METADATA = {"order": 17, "empty": [], "nested": {"ü": [1.5, None, {}]}}

tokens = (f"token{number}" for number in count())


def new_job(job_id: str, url: str | None = "https://Example.com:8443/hook?a=b") -> NewJob:
    upload = Upload(job_id, "talk.wav", size_bytes=10, sha256="00", duration_s=10.0)
    job = NewJob(job_id, Endpoint.JOBS, Priority.BATCH, upload, TranscriptionRequest(), "lab", METADATA, url)
    assert job.receiver == ("example.com" if url == "https://Example.com:8443/hook?a=b" else job.receiver)
    return job


def submit(
    runner: ScriptRunner, job_id: str = "1", url: str | None = "https://Example.com:8443/hook?a=b"
) -> None:
    runner.run(submit_job(new_job(job_id, url)))


def claim_job(runner: ScriptRunner) -> Claim:
    claim = runner.run(transitions.claim_job("w", engine="e", model="m", lease_s=60))
    assert claim
    return claim


def succeed(runner: ScriptRunner, job_id: str = "1", *, ttl_s: float = TTL_S) -> None:
    submit(runner, job_id)
    runner.run(transitions.finish_succeeded(claim_job(runner), ttl_s=ttl_s))


def take(runner: ScriptRunner, terms: ClaimTerms = TERMS) -> Delivery:
    """Claim the delivery that is due, or will be in a moment."""

    def look() -> Delivery | None:
        found = runner.run(claim_delivery(next(tokens), terms))
        return found if isinstance(found, Delivery) else None

    return wait_for(look, what="a delivery")


def find_none(runner: ScriptRunner) -> NoneDue:
    found = runner.run(claim_delivery(next(tokens), TERMS))
    assert isinstance(found, NoneDue)
    return found


def read_tries(runner: ScriptRunner, job_id: str = "1") -> tuple[DeliveryTry, ...]:
    job = runner.run(transitions.read_job(job_id))
    assert job
    return job.deliveries


def test_a_job_that_succeeded_is_to_be_delivered_at_once(runner: ScriptRunner) -> None:
    succeed(runner)
    delivery = take(runner)
    job = runner.run(transitions.read_job("1"))
    assert job
    assert delivery == Delivery(new_job("1"), 1, JobState.SUCCEEDED, None, job.finished_ms or 0)
    assert delivery.new_job.metadata == METADATA


def test_so_is_one_that_failed(runner: ScriptRunner) -> None:
    submit(runner)
    failure = Failure(FailureCode.ENGINE_ERROR, "it „failed“")
    runner.run(transitions.finish_failed(claim_job(runner), failure, ttl_s=TTL_S))
    delivery = take(runner)
    assert (delivery.state, delivery.failure) == (JobState.FAILED, failure)


def test_so_is_one_that_was_cancelled_in_the_queue(runner: ScriptRunner) -> None:
    submit(runner)
    runner.run(transitions.cancel_job("1", ttl_s=TTL_S))
    assert take(runner).state is JobState.CANCELLED


def test_so_is_one_that_was_cancelled_while_it_ran(runner: ScriptRunner) -> None:
    submit(runner)
    runner.run(transitions.finish_cancelled(claim_job(runner), ttl_s=TTL_S))
    assert take(runner).state is JobState.CANCELLED


def test_so_is_one_that_nobody_claimed_in_time(runner: ScriptRunner) -> None:
    submit(runner)
    runner.run(transitions.expire_queued(queue_ttl_s=0, ttl_s=TTL_S))
    delivery = take(runner)
    assert delivery.failure
    assert delivery.failure.code is FailureCode.EXPIRED


def test_so_is_one_that_crashed_too_often(runner: ScriptRunner) -> None:
    submit(runner)
    for _ in range(transitions.MAX_ENGINE_CRASHES):
        assert isinstance(find_none(runner), NoneDue)
        runner.run(transitions.report_engine_crash(claim_job(runner), ttl_s=TTL_S))
    delivery = take(runner)
    assert delivery.failure
    assert delivery.failure.code is FailureCode.ENGINE_CRASH


def test_a_job_without_webhook_url_is_told_to_nobody(runner: ScriptRunner) -> None:
    submit(runner, url=None)
    runner.run(transitions.finish_succeeded(claim_job(runner), ttl_s=TTL_S))
    assert find_none(runner) == NoneDue(None)


def test_an_end_that_is_reported_twice_is_delivered_once(runner: ScriptRunner) -> None:
    submit(runner)
    claim = claim_job(runner)
    runner.run(transitions.finish_succeeded(claim, ttl_s=TTL_S))
    runner.run(end_delivery(take(runner), DeliveryOutcome(status=200)))
    assert runner.run(transitions.finish_succeeded(claim, ttl_s=TTL_S)) == "already"
    assert find_none(runner) == NoneDue(None)


def test_what_one_has_leased_no_other_gets(runner: ScriptRunner) -> None:
    succeed(runner)
    take(runner)
    next_s = find_none(runner).next_s
    assert next_s is not None
    assert 0 < next_s <= TERMS.lease_s


def test_a_claim_that_is_sent_twice_answers_the_same_delivery(runner: ScriptRunner) -> None:
    succeed(runner)
    call = claim_delivery("token", TERMS)
    first = runner.run(call)
    assert isinstance(first, Delivery)
    assert runner.run(call) == first
    assert read_tries(runner) == ()


def test_a_try_that_is_the_last_ends_the_delivery_and_is_in_the_log_of_the_job(runner: ScriptRunner) -> None:
    succeed(runner)
    delivery = take(runner)
    report = end_delivery(delivery, DeliveryOutcome(status=204))
    assert runner.run(report) == "ended"
    assert runner.run(report) == "stale"
    [tried] = read_tries(runner)
    assert (tried.attempt, tried.next_ms, tried.outcome) == (1, None, DeliveryOutcome(status=204))
    assert tried.at_ms >= delivery.ended_ms
    assert find_none(runner) == NoneDue(None)


def test_a_try_that_failed_is_made_again_when_it_is_due(runner: ScriptRunner) -> None:
    succeed(runner)
    failed = put_delivery_off(take(runner), DeliveryOutcome(error="„no“ %s"), wait_s=0.2)
    assert runner.run(failed) == "put_off"
    assert runner.run(failed) == "stale"
    [tried] = read_tries(runner)
    assert tried.outcome.error == "„no“ %s"
    assert tried.next_ms is not None
    assert tried.next_ms >= tried.at_ms + 200
    again = take(runner)
    assert again.claim_no == 2
    assert runner.run(end_delivery(again, DeliveryOutcome(status=200))) == "ended"
    assert [tried.attempt for tried in read_tries(runner)] == [1, 2]


def test_a_delivery_whose_deliverer_is_gone_is_made_again_and_its_late_report_refused(
    runner: ScriptRunner,
) -> None:
    succeed(runner)
    lost = take(runner, SHORT)
    again = take(runner)
    assert again == Delivery(lost.new_job, 2, lost.state, lost.failure, lost.ended_ms)
    assert runner.run(end_delivery(lost, DeliveryOutcome(status=200))) == "stale"
    assert runner.run(put_delivery_off(lost, DeliveryOutcome(status=500), wait_s=0.01)) == "stale"
    assert runner.run(end_delivery(again, DeliveryOutcome(status=200))) == "ended"
    first, second = read_tries(runner)
    assert first.outcome.error
    assert "interrupted" in first.outcome.error
    assert (second.attempt, second.outcome.status) == (2, 200)


def test_a_delivery_that_always_loses_its_deliverer_comes_to_an_end(runner: ScriptRunner) -> None:
    succeed(runner)
    for _ in range(SHORT.most_tries):
        take(runner, SHORT)
    wait_for(lambda: find_none(runner) == NoneDue(None))
    tries = read_tries(runner)
    assert [tried.attempt for tried in tries] == [1, 2, 3]
    assert tries[-1].next_ms is None


def test_a_busy_receiver_is_passed_over_and_comes_again(runner: ScriptRunner) -> None:
    succeed(runner, "1")
    submit(runner, "2", url="http://other.example/")
    runner.run(transitions.finish_succeeded(claim_job(runner), ttl_s=TTL_S))
    found = runner.run(claim_delivery(next(tokens), TERMS, Closed(receivers=("example.com",))))
    assert isinstance(found, Delivery)
    assert found.job_id == "2"
    assert take(runner).job_id == "1"


@pytest.mark.parametrize(
    "closed",
    [
        Closed(unless_quick=("example.com",)),
        Closed(key_names=("lab",)),
        Closed(standings=(Standing.NEW,)),
    ],
    ids=["its host", "its API key", "its kind"],
)
def test_what_there_is_no_room_for_comes_when_there_is(runner: ScriptRunner, closed: Closed) -> None:
    succeed(runner)
    assert isinstance(runner.run(claim_delivery(next(tokens), TERMS, closed)), NoneDue)
    assert take(runner).claim_no == 1


def test_how_a_receiver_stands_is_what_its_last_try_says(runner: ScriptRunner) -> None:
    succeed(runner)
    known = [take(runner)]
    for standing in (Standing.SLOW, Standing.QUICK):
        runner.run(put_delivery_off(known[-1], DeliveryOutcome(status=500), standing, wait_s=0.01))
        known.append(take(runner))
    assert [delivery.standing for delivery in known] == [Standing.NEW, Standing.SLOW, Standing.QUICK]


def test_a_receiver_that_was_quick_gets_more_than_one_at_once(runner: ScriptRunner) -> None:
    succeed(runner)
    runner.run(end_delivery(take(runner), DeliveryOutcome(status=200), Standing.QUICK))
    succeed(runner, "2")
    found = runner.run(claim_delivery(next(tokens), TERMS, Closed(unless_quick=("example.com",))))
    assert isinstance(found, Delivery)


def test_many_that_wait_for_a_busy_receiver_stand_in_a_line(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        runner = ScriptRunner(connection, "test:")
        for number in range(30):
            succeed(runner, str(number))
        busy = claim_delivery(next(tokens), TERMS, Closed(receivers=("example.com",)))
        assert isinstance(runner.run(busy), NoneDue)
        line = [due_ms for _, due_ms in connection.zrange("test:deliveries_due", 0, -1, withscores=True)]
    assert all(later >= earlier + 10 for earlier, later in pairwise(line))


def test_a_job_that_is_deleted_is_told_to_nobody(runner: ScriptRunner) -> None:
    succeed(runner)
    leased = take(runner)
    runner.run(transitions.delete_job("1"))
    assert find_none(runner) == NoneDue(None)
    assert runner.run(put_delivery_off(leased, DeliveryOutcome(status=500), wait_s=0.01)) == "stale"
    assert find_none(runner) == NoneDue(None)


def test_a_job_is_there_until_its_delivery_has_ended_and_for_its_ttl_after_that(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        runner = ScriptRunner(connection, "test:")
        succeed(runner, "late", ttl_s=0.3)
        delivery = take(runner)
        assert runner.run(put_delivery_off(delivery, DeliveryOutcome(status=500), wait_s=0.4)) == "put_off"
        again = take(runner)
        assert runner.run(forget_jobs()) == 0
        kept = [name for name in connection.keys("test:*:late") if connection.ttl(name) == -1]
        assert {b"test:job:late", b"test:log:late", b"test:deliveries:late"} <= set(kept)
        assert runner.run(end_delivery(again, DeliveryOutcome(status=200))) == "ended"
        assert [tried.outcome.status for tried in read_tries(runner, "late")] == [500, 200]
        wait_for(lambda: runner.run(transitions.read_job("late")) is None, what="the end of the job")
        assert connection.keys("test:*:late") == [b"test:gone:late"]
        assert runner.run(forget_jobs()) == 1


def test_so_it_is_where_nobody_reports_on_the_last_try(runner: ScriptRunner) -> None:
    succeed(runner, ttl_s=0.3)
    for _ in range(SHORT.most_tries):
        take(runner, SHORT)
    wait_for(lambda: find_none(runner) == NoneDue(None))
    wait_for(lambda: runner.run(transitions.read_job("1")) is None, what="the end of the job")


def test_so_it_is_where_there_was_no_room_for_days(
    runner: ScriptRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeed(runner, ttl_s=0.05)
    monkeypatch.setattr("shared.record.deliveries.UNTRIED_TTL_S", 0.2)

    def look() -> bool:
        runner.run(claim_delivery(next(tokens), TERMS, Closed(key_names=("lab",))))
        return runner.run(transitions.read_job("1")) is None

    wait_for(look, what="the end of the job")
    assert find_none(runner) == NoneDue(None)


def test_so_it_is_where_nobody_delivers(runner: ScriptRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    succeed(runner, ttl_s=0.05)
    monkeypatch.setattr("shared.record.deliveries.UNTRIED_TTL_S", 0.2)

    def look() -> bool:
        runner.run(needs_delivery_ticket("broker"))
        return runner.run(transitions.read_job("1")) is None

    wait_for(look, what="the end of the job")
    assert find_none(runner) == NoneDue(None)


def test_a_ticket_is_needed_where_something_is_due_and_none_is_on_its_way(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        runner = ScriptRunner(connection, "test:")
        assert not runner.run(needs_delivery_ticket("broker"))
        succeed(runner)
        assert runner.run(needs_delivery_ticket("broker"))
        connection.rpush("broker", "ticket")
        assert not runner.run(needs_delivery_ticket("broker"))
        connection.delete("broker")
        take(runner)
        assert not runner.run(needs_delivery_ticket("broker"))


def test_a_sweep_sends_one_ticket_where_something_is_due(redis_url: str) -> None:
    runner = connect(redis_url)
    sweeper = Sweeper(runner, create_celery(redis_url), SharedSettings(redis_url=redis_url))
    with redis.Redis.from_url(redis_url) as connection:
        sweeper.sweep()
        assert connection.llen(DELIVERY_QUEUE_NAME) == 0
        succeed(runner)
        for _ in range(2):
            sweeper.sweep()
            assert connection.llen(DELIVERY_QUEUE_NAME) == 1


def test_nothing_is_left_of_what_was_delivered_and_expired(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        runner = ScriptRunner(connection, "test:")
        succeed(runner, ttl_s=0.3)
        runner.run(end_delivery(take(runner, SHORT), DeliveryOutcome(status=200)))
        wait_for(lambda: connection.keys("*deliver*") == [b"test:deliverers"])
