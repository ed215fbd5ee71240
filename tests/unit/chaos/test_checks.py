"""The checks of a chaos run find each kind of harm, and none where there is none."""

import pytest

from tests.chaos.checks import (
    Harm,
    JobFacts,
    count_renewed,
    explains_break,
    find_gaps,
    find_harm,
    measure_notice_s,
    measure_recovery_s,
    share_out_attempts,
)
from tests.chaos.faults import Fault, FaultKind
from tests.chaos.injection import Injected
from tests.chaos.listeners import Trace
from tests.chaos.mix import Ending
from tests.chaos.records import LoggedEvent, Record

LEASE_S = 3.0


def record(*events: str, state: str = "succeeded", code: str = "") -> Record:
    """A record whose log has these events, as `type@ms` or `type@ms/reason`.

    Each loss and crash counts, unless its reason ends with `in a group`.
    """
    logged: list[LoggedEvent] = []
    attempt = 1
    for number, event in enumerate(events):
        name, _, rest = event.partition("@")
        at_ms, _, reason = rest.partition("/")
        attempt += reason in ("worker_lost", "engine_crash")
        logged.append(
            LoggedEvent(f"{at_ms or number}-{number}", name, reason.removesuffix(" in a group"), attempt)
        )
    losses = sum(event.reason == "worker_lost" for event in logged)
    crashes = sum(event.reason == "engine_crash" for event in logged)
    return Record(state, losses, crashes, tuple(logged), code)


def injected(kind: FaultKind, began_ms: int, *job_ids: str, target: str = "worker-1") -> Injected:
    return Injected(Fault(kind, target, 0, 0), began_ms, began_ms, job_ids)


GOOD = record("queued", "started", "segment", "progress", "succeeded")
BEGUN_AGAIN = record("queued", "started", "requeued@2/worker_lost", "started", "segment", "succeeded")
CRASHED = record("queued", "started", "failed", state="failed", code="engine_crash")


@pytest.mark.parametrize(
    ("facts", "harm"),
    [
        (JobFacts("a b", GOOD, "a b"), set()),
        (JobFacts("a b", GOOD, "a"), {Harm.WRONG}),
        (JobFacts("a b", GOOD, None), {Harm.WRONG}),
        (JobFacts("a b", None, None), {Harm.LOST}),
        (JobFacts("a b", record("queued", state="queued"), None), {Harm.STUCK}),
        (JobFacts("a b", record("failed", state="failed"), None), {Harm.FAILED}),
        (JobFacts("a b", CRASHED, None), {Harm.FAILED}),
        (JobFacts("a b", CRASHED, None, endings=(Ending.CRASH,)), set()),
        (JobFacts("a b", CRASHED, None, endings=(Ending.CANCELLED, Ending.TIMEOUT)), {Harm.FAILED}),
        (JobFacts("a b", GOOD, "a b", endings=(Ending.CRASH,)), {Harm.FAILED}),
        (JobFacts("a b", GOOD, "a b", ("a b", "a b")), set()),
        (JobFacts("a b", GOOD, "a b", ("a b", "a")), {Harm.WRONG}),
        (JobFacts("a b", GOOD, "a b", (), ("", "a", "a b")), set()),
        (JobFacts("a b", GOOD, "a b", (), ("a", "b")), {Harm.WRONG}),
        (JobFacts("a b", BEGUN_AGAIN, "a b", (), ("b",)), set()),
        (JobFacts("a b", record("succeeded", "succeeded"), "a b"), {Harm.DOUBLED}),
        (JobFacts("a b", record("queued", "started"), "a b"), {Harm.UNREPORTED}),
        (JobFacts("a b", record("failed", "succeeded"), "a"), {Harm.DOUBLED, Harm.WRONG}),
    ],
)
def test_each_kind_of_harm_is_found(facts: JobFacts, harm: set[Harm]) -> None:
    assert find_harm(facts) == harm


def test_a_restarted_or_failed_job_explains_the_error_of_a_stream() -> None:
    assert explains_break(BEGUN_AGAIN)
    assert explains_break(record("queued", "failed", state="failed"))
    assert not explains_break(GOOD)


def hear(logged: Record, *, text: str = "a b") -> Trace:
    """What a listener hears who misses nothing."""
    trace = Trace("job")
    trace.ids = [event.event_id for event in logged.events]
    trace.names = [event.type for event in logged.events]
    trace.texts = text.split()
    return trace


def test_a_listener_who_heard_all_has_no_gaps() -> None:
    assert find_gaps(hear(GOOD), GOOD, "a b") == []


def test_partials_that_are_no_longer_in_the_log_are_no_gap() -> None:
    trace = hear(GOOD)
    trace.ids.insert(2, "1-5")
    trace.names.insert(2, "partial")
    assert find_gaps(trace, GOOD, "a b") == []


def test_a_missed_event_is_a_gap() -> None:
    trace = hear(GOOD)
    del trace.ids[2], trace.names[2]
    assert find_gaps(trace, GOOD, "a b") == ["1 events missed"]


def test_an_event_that_comes_twice_or_too_late_is_told_of() -> None:
    for place in (2, 3):
        trace = hear(GOOD)
        trace.ids.insert(place + 1, trace.ids[place - 1])
        trace.names.insert(place + 1, "progress")
        assert find_gaps(trace, GOOD, "a b") == ["events out of order, or twice: 1"]


@pytest.mark.parametrize("names", [["queued"], ["succeeded", "succeeded"], ["succeeded", "progress"]])
def test_there_is_one_final_event_and_nothing_after_it(names: list[str]) -> None:
    logged = record(*names)
    assert find_gaps(hear(logged), logged, "a b") == ["not exactly one final event at the end"]


def test_the_segments_that_were_heard_are_the_transcript() -> None:
    assert find_gaps(hear(GOOD, text="a"), GOOD, "a b") == ["the segments are not the transcript"]


def test_an_attempt_counts_for_the_kill_that_hit_the_job_despite_a_fault_between() -> None:
    faults = [
        injected(FaultKind.KILL_WORKER, 1_000, "a"),
        injected(FaultKind.KILL_REDIS, 2_000, "a", "b", target="redis"),
    ]
    records = {
        "a": record("started@900", "requeued@4000/worker_lost", "started@4100", "succeeded@5000"),
        "b": record("started@900", "requeued@4000/worker_lost", "started@4100", "succeeded@5000"),
        "c": record("started@2900", "requeued@4000/worker_stopping", "started@4100", "succeeded@5000"),
        "d": record("started@900", "requeued@4000/worker_lost in a group", "started@4100", "succeeded@5000"),
    }
    assert share_out_attempts(records, faults) == [1, 1]


def test_a_second_loss_of_the_same_job_is_not_put_down_to_the_same_kill() -> None:
    faults = [
        injected(FaultKind.KILL_WORKER, 1_000, "a"),
        injected(FaultKind.STOP_REDIS, 6_000, target="redis"),
    ]
    lost_twice = ("requeued@4000/worker_lost", "started@4100", "requeued@9000/worker_lost", "started@9100")
    records = {"a": record(*lost_twice)}
    assert share_out_attempts(records, faults) == [1, 1]


def test_recovery_from_a_kill_is_the_next_claim_of_the_job_that_was_hit() -> None:
    fault = injected(FaultKind.KILL_WORKER, 1_000, "a")
    records = {"a": record("progress@1001", "requeued@4000", "started@4500"), "b": record("started@1100")}
    assert measure_recovery_s(fault, records) == 3.5


def test_recovery_where_no_job_was_hit_is_the_next_claim_of_any() -> None:
    assert measure_recovery_s(injected(FaultKind.TERM_WORKER, 1_000), {"b": record("started@1100")}) == 0.1


def test_recovery_of_the_api_is_the_next_job_that_is_accepted() -> None:
    fault = injected(FaultKind.KILL_API, 1_000, "a", target="api")
    assert measure_recovery_s(fault, {"a": record("started@1100"), "b": record("queued@3000")}) == 2.0


def test_nothing_after_the_fault_is_no_recovery() -> None:
    assert measure_recovery_s(injected(FaultKind.KILL_API, 9_000, target="api"), {"a": GOOD}) is None


def test_the_loss_of_a_worker_is_noticed_when_its_job_goes_back() -> None:
    fault = injected(FaultKind.KILL_WORKER, 1_000, "a")
    records = {"a": record("started@900", "requeued@4200/worker_lost", "started@4300")}
    assert measure_notice_s(fault, float("inf"), LEASE_S, records) == 3.2
    assert measure_notice_s(fault, 2_000, LEASE_S, records) is None


def test_a_request_whose_job_has_ended_badly_may_become_another_job() -> None:
    later = record("queued@3000", "succeeded@4000")
    assert count_renewed([later, record("queued@1000", "failed@2000", code="engine_crash")]) == 1
    assert count_renewed([later, record("queued@1000", "failed@3500", code="engine_crash")]) == 0
    assert count_renewed([later, record("queued@1000", "failed@2000", code="engine_error")]) == 0
    assert count_renewed([later, record("queued@1000", "succeeded@2000")]) == 0
