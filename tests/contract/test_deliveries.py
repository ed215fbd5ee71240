"""The record of deliveries: nothing is lost and nothing done twice, on a fake and on a real server."""

from itertools import count

import msgspec
import redis

from shared.jobs import (
    Claim,
    DeliveryAttempt,
    DeliveryOutcome,
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
from shared.record.deliveries import (
    ClaimTerms,
    Delivery,
    NoneDue,
    claim_delivery,
    report_delivery,
)
from shared.record.scripts import ScriptRunner
from shared.record.transitions import forget_jobs
from tests.support import single_claims
from tests.support.record_readings import read_job
from tests.support.server import wait_for

DAY_S = 86_400
TERMS = ClaimTerms(lease_s=60, max_attempts=3, give_up_s=DAY_S)
SHORT = ClaimTerms(lease_s=0.05, max_attempts=3, give_up_s=DAY_S)
TTL_S = 60.0
URL = "https://Example.com:8443/hook?a=b"
METADATA = {"order": 17, "empty": [], "nested": {"ü": [1.5, None, {}]}}

tokens = (f"token{number}" for number in count())


def new_job(job_id: str, url: str | None = URL) -> NewJob:
    upload = Upload(job_id, "talk.wav", size_bytes=10, sha256="00", duration_s=10.0)
    job = NewJob(job_id, Endpoint.JOBS, Priority.BATCH, upload, TranscriptionRequest(), "lab", METADATA, url)
    assert url != URL or job.receiver == "example.com"
    return job


def submit(runner: ScriptRunner, job_id: str = "1", url: str | None = URL) -> None:
    runner.run(submit_job(new_job(job_id, url)))


def claim_job(runner: ScriptRunner) -> Claim:
    claim = runner.run(single_claims.claim_job("w", engine="e", model="m", lease_s=60))
    assert claim
    return claim


def succeed(runner: ScriptRunner, job_id: str = "1", *, url: str = URL, ttl_s: float = TTL_S) -> None:
    submit(runner, job_id, url)
    runner.run(transitions.finish_job(claim_job(runner), JobState.SUCCEEDED, ttl_s=ttl_s))


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


def read_attempts(runner: ScriptRunner, job_id: str = "1") -> tuple[DeliveryAttempt, ...]:
    job = runner.run(read_job(job_id))
    assert job
    return job.deliveries


def test_a_job_that_succeeded_is_to_be_delivered_at_once(runner: ScriptRunner) -> None:
    succeed(runner)
    delivery = take(runner)
    job = runner.run(read_job("1"))
    assert job
    assert delivery == Delivery(new_job("1"), 1, JobState.SUCCEEDED, None, job.finished_ms or 0)
    assert delivery.new_job.metadata == METADATA


def test_so_is_one_that_failed(runner: ScriptRunner) -> None:
    submit(runner)
    failure = Failure(FailureCode.ENGINE_ERROR, "it „failed“")
    runner.run(transitions.finish_job(claim_job(runner), JobState.FAILED, failure=failure, ttl_s=TTL_S))
    delivery = take(runner)
    assert (delivery.state, delivery.failure) == (JobState.FAILED, failure)


def test_so_is_one_that_was_cancelled_in_the_queue(runner: ScriptRunner) -> None:
    submit(runner)
    runner.run(transitions.cancel_job("1", ttl_s=TTL_S))
    assert take(runner).state is JobState.CANCELLED


def test_so_is_one_that_was_cancelled_while_it_ran(runner: ScriptRunner) -> None:
    submit(runner)
    runner.run(transitions.finish_job(claim_job(runner), JobState.CANCELLED, ttl_s=TTL_S))
    assert take(runner).state is JobState.CANCELLED


def test_so_is_one_that_expired(runner: ScriptRunner) -> None:
    submit(runner)
    runner.run(transitions.expire_queued(queue_ttl_s=0, ttl_s=TTL_S))
    delivery = take(runner)
    assert delivery.failure
    assert delivery.failure.code is FailureCode.EXPIRED


def test_so_is_one_that_crashed_too_often(runner: ScriptRunner) -> None:
    submit(runner)
    for _ in range(transitions.MAX_ENGINE_CRASHES):
        assert isinstance(find_none(runner), NoneDue)
        runner.run(single_claims.crash_engine(claim_job(runner), ttl_s=TTL_S))
    delivery = take(runner)
    assert delivery.failure
    assert delivery.failure.code is FailureCode.ENGINE_CRASH


def test_a_job_without_webhook_url_has_no_delivery(runner: ScriptRunner) -> None:
    submit(runner, url=None)
    runner.run(transitions.finish_job(claim_job(runner), JobState.SUCCEEDED, ttl_s=TTL_S))
    assert find_none(runner) == NoneDue(None)


def test_an_end_that_is_reported_twice_is_delivered_once(runner: ScriptRunner) -> None:
    submit(runner)
    claim = claim_job(runner)
    runner.run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=TTL_S))
    runner.run(report_delivery(take(runner), DeliveryOutcome(status=200)))
    assert runner.run(transitions.finish_job(claim, JobState.SUCCEEDED, ttl_s=TTL_S)) == "already"
    assert find_none(runner) == NoneDue(None)


def test_a_leased_delivery_is_not_claimed_again(runner: ScriptRunner) -> None:
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
    assert read_attempts(runner) == ()


def test_the_last_attempt_ends_the_delivery_and_is_in_the_log_of_the_job(runner: ScriptRunner) -> None:
    succeed(runner)
    delivery = take(runner)
    report = report_delivery(delivery, DeliveryOutcome(status=204))
    assert runner.run(report) == "ended"
    assert runner.run(report) == "stale"
    [made] = read_attempts(runner)
    assert (made.attempt, made.next_ms, made.outcome) == (1, None, DeliveryOutcome(status=204))
    assert made.at_ms >= delivery.ended_ms
    assert find_none(runner) == NoneDue(None)


def test_an_attempt_that_failed_is_made_again_when_it_is_due(runner: ScriptRunner) -> None:
    succeed(runner)
    failed = report_delivery(take(runner), DeliveryOutcome(error="„no“ %s"), wait_s=0.2)
    assert runner.run(failed) == "retried"
    assert runner.run(failed) == "stale"
    [made] = read_attempts(runner)
    assert made.outcome.error == "„no“ %s"
    assert made.next_ms is not None
    assert made.next_ms >= made.at_ms + 200
    again = take(runner)
    assert again.claim_no == 2
    assert runner.run(report_delivery(again, DeliveryOutcome(status=200))) == "ended"
    assert [made.attempt for made in read_attempts(runner)] == [1, 2]


def test_an_attempt_without_report_is_made_again_and_its_late_report_refused(runner: ScriptRunner) -> None:
    succeed(runner)
    lost = take(runner, SHORT)
    again = take(runner)
    assert again == Delivery(lost.new_job, 2, lost.state, lost.failure, lost.ended_ms)
    assert runner.run(report_delivery(lost, DeliveryOutcome(status=200))) == "stale"
    assert runner.run(report_delivery(lost, DeliveryOutcome(status=500), wait_s=0.01)) == "stale"
    assert runner.run(report_delivery(again, DeliveryOutcome(status=200))) == "ended"
    first, second = read_attempts(runner)
    assert first.outcome.error
    assert "interrupted" in first.outcome.error
    assert (second.attempt, second.outcome.status) == (2, 200)


def test_a_delivery_whose_attempts_are_never_reported_comes_to_an_end(runner: ScriptRunner) -> None:
    succeed(runner)
    for _ in range(SHORT.max_attempts):
        take(runner, SHORT)
    wait_for(lambda: find_none(runner) == NoneDue(None))
    attempts = read_attempts(runner)
    assert [made.attempt for made in attempts] == [1, 2, 3]
    assert attempts[-1].next_ms is None


def claim_of(runner: ScriptRunner, *full_hosts: str) -> str | None:
    """The job of the delivery that is claimed while these hosts are full."""
    found = runner.run(claim_delivery(next(tokens), TERMS, full_hosts))
    return found.job_id if isinstance(found, Delivery) else None


def pass_a_ms(connection: redis.Redis) -> None:
    """Wait until the server's clock has moved on; hosts due in the same ms come in no certain order."""
    seconds, microseconds = connection.time()
    wait_for(lambda: connection.time() >= (seconds, microseconds + 1_000))


def test_full_hosts_are_passed_over_and_come_again(runner: ScriptRunner) -> None:
    for number, host in enumerate(("a", "a", "b", "c")):
        succeed(runner, str(number), url=f"http://{host}.example/")
    assert claim_of(runner, "a.example", "b.example") == "3"
    assert claim_of(runner, "a.example", "b.example", "other.example") is None
    assert claim_of(runner, "a.example") == "2"
    assert {claim_of(runner), claim_of(runner)} == {"0", "1"}


def test_hosts_take_turns_however_many_deliveries_one_has(
    record_connection: redis.Redis, runner: ScriptRunner
) -> None:
    for number in range(5):
        succeed(runner, f"many{number}", url="http://many.example/")
    for number in range(2):
        succeed(runner, f"few{number}", url="http://few.example/")
    claimed = []
    for _ in range(7):
        pass_a_ms(record_connection)
        claimed.append((claim_of(runner) or "")[:-1])
    assert sorted(claimed[:2]) == sorted(claimed[2:4]) == ["few", "many"]
    assert claimed[4:] == ["many"] * 3


def test_a_host_that_is_served_comes_after_one_that_has_waited(
    record_connection: redis.Redis, runner: ScriptRunner
) -> None:
    succeed(runner, "1", url="http://a.example/")
    pass_a_ms(record_connection)
    succeed(runner, "2", url="http://b.example/")
    pass_a_ms(record_connection)
    runner.run(report_delivery(take(runner), DeliveryOutcome(status=500), wait_s=0))
    succeed(runner, "3", url="http://a.example/")
    assert claim_of(runner) == "2"


def test_the_rest_is_until_the_first_delivery_that_a_claim_would_take(runner: ScriptRunner) -> None:
    for number, wait_s in enumerate((30, 10, 20)):
        succeed(runner, str(number), url=f"http://{number}.example/")
        runner.run(report_delivery(take(runner), DeliveryOutcome(status=500), wait_s=wait_s))
    next_s = find_none(runner).next_s
    assert next_s is not None
    assert 9 < next_s <= 10
    passed_over = runner.run(claim_delivery(next(tokens), TERMS, ("1.example",)))
    assert isinstance(passed_over, NoneDue)
    assert passed_over.next_s is not None
    assert 19 < passed_over.next_s <= 20


def test_a_delivery_that_is_opened_wakes_the_api(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection, connection.pubsub() as subscription:
        runner = ScriptRunner(connection, "test:")
        subscription.subscribe("test:delivery_opened")
        assert subscription.get_message(timeout=30)
        submit(runner, url=None)
        runner.run(transitions.finish_job(claim_job(runner), JobState.SUCCEEDED, ttl_s=TTL_S))
        assert subscription.get_message(timeout=0) is None
        succeed(runner, "2")
        assert subscription.get_message(timeout=30)


def finish(runner: ScriptRunner, job: NewJob) -> None:
    runner.run(submit_job(job))
    runner.run(transitions.finish_job(claim_job(runner), JobState.SUCCEEDED, ttl_s=TTL_S))


def test_a_claim_passes_over_deliveries_that_it_cannot_sign(runner: ScriptRunner) -> None:
    for number, is_own in enumerate((True, False)):
        finish(runner, msgspec.structs.replace(new_job(str(number)), has_own_secret=is_own))
    without, of_server, of_key = (
        msgspec.structs.replace(TERMS, has_server_secret=has_secret, signing_keys=frozenset(names))
        for has_secret, names in ((False, ["other"]), (True, []), (False, ["lab"]))
    )
    assert runner.run(claim_delivery(next(tokens), without)) == NoneDue(None, unsigned=2)
    assert take(runner, of_server).job_id == "1"
    assert take(runner, of_key).job_id == "0"
    assert read_attempts(runner, "0") == ()


def test_other_hosts_are_claimed_beside_one_that_cannot_be_signed(runner: ScriptRunner) -> None:
    finish(runner, msgspec.structs.replace(new_job("1"), has_own_secret=True))
    succeed(runner, "2", url="http://b.example/")
    assert take(runner).job_id == "2"
    found = find_none(runner)
    assert found.unsigned == 1
    assert found.next_s is not None


def test_a_delivery_that_no_api_can_sign_comes_to_an_end(runner: ScriptRunner) -> None:
    succeed(runner, ttl_s=0.05)
    overdue = ClaimTerms(lease_s=60, max_attempts=3, give_up_s=-1, has_server_secret=False)
    assert runner.run(claim_delivery(next(tokens), overdue)) == NoneDue(None)
    wait_for(lambda: runner.run(read_job("1")) is None, what="the end of the job")


def test_a_delivery_whose_record_was_lost_holds_up_no_other(
    record_connection: redis.Redis, runner: ScriptRunner
) -> None:
    succeed(runner, "1")
    succeed(runner, "2")
    record_connection.delete("test:delivery:1")
    assert take(runner).job_id == "2"


def test_a_job_that_is_deleted_has_no_further_attempt(runner: ScriptRunner) -> None:
    succeed(runner)
    leased = take(runner)
    runner.run(transitions.delete_job("1"))
    assert find_none(runner) == NoneDue(None)
    assert runner.run(report_delivery(leased, DeliveryOutcome(status=500), wait_s=0.01)) == "stale"
    assert find_none(runner) == NoneDue(None)


def test_a_job_is_there_until_its_delivery_has_ended_and_for_its_ttl_after_that(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        runner = ScriptRunner(connection, "test:")
        succeed(runner, "late", ttl_s=0.3)
        delivery = take(runner)
        assert runner.run(report_delivery(delivery, DeliveryOutcome(status=500), wait_s=0.4)) == "retried"
        again = take(runner)
        assert runner.run(forget_jobs()) == 0
        kept = [name for name in connection.keys("test:*:late") if connection.ttl(name) == -1]
        assert {b"test:job:late", b"test:log:late", b"test:deliveries:late"} <= set(kept)
        assert runner.run(report_delivery(again, DeliveryOutcome(status=200))) == "ended"
        assert [made.outcome.status for made in read_attempts(runner, "late")] == [500, 200]
        wait_for(lambda: runner.run(read_job("late")) is None, what="the end of the job")
        assert connection.keys("test:*:late") == [b"test:gone:late"]
        assert runner.run(forget_jobs()) == 1


def test_so_it_is_where_the_last_attempt_is_never_reported(runner: ScriptRunner) -> None:
    succeed(runner, ttl_s=0.3)
    for _ in range(SHORT.max_attempts):
        take(runner, SHORT)
    wait_for(lambda: find_none(runner) == NoneDue(None))
    wait_for(lambda: runner.run(read_job("1")) is None, what="the end of the job")


def test_so_it_is_where_a_delivery_is_overdue(runner: ScriptRunner) -> None:
    succeed(runner, ttl_s=0.05)
    overdue = ClaimTerms(lease_s=60, max_attempts=3, give_up_s=-1)
    assert runner.run(claim_delivery(next(tokens), overdue)) == NoneDue(None)
    wait_for(lambda: runner.run(read_job("1")) is None, what="the end of the job")


def test_nothing_is_left_of_what_was_delivered_and_expired(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        runner = ScriptRunner(connection, "test:")
        succeed(runner, ttl_s=0.3)
        runner.run(report_delivery(take(runner, SHORT), DeliveryOutcome(status=200)))
        assert find_none(runner) == NoneDue(None)
        wait_for(lambda: connection.keys("*deliver*") == [])
