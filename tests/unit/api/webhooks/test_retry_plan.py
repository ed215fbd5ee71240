"""The meaning of a receiver's answer, and the time of the next attempt."""

import itertools
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from api.settings import ApiSettings, parse_waits_s
from api.webhooks.retry_plan import (
    JITTER,
    MAX_RETRY_AFTER_S,
    RetryPlan,
    Verdict,
    judge_status,
    read_retry_after,
)

NOW = datetime(2026, 1, 31, 23, 59, 50, tzinfo=UTC)
DAY_S = 86_400


def middle(low: float, high: float) -> float:
    return (low + high) / 2


def test_2xx_delivers_temporary_errors_are_retried_and_all_else_refuses() -> None:
    verdicts = {status: judge_status(status) for status in range(100, 1_000)}
    delivered = [status for status, verdict in verdicts.items() if verdict is Verdict.DELIVERED]
    again = [status for status, verdict in verdicts.items() if verdict is Verdict.RETRY]
    assert delivered == list(range(200, 300))
    assert again == [408, 429, *range(500, 1_000)]


def test_the_default_makes_eight_attempts_in_about_a_day() -> None:
    waits_s = ApiSettings().webhook_retries_s
    assert RetryPlan(waits_s).max_attempts == 8
    assert waits_s == tuple(sorted(waits_s[:-1])) + waits_s[-1:]
    assert 0.95 * DAY_S < sum(waits_s) < 1.05 * DAY_S


def test_waits_are_jittered_within_their_bounds() -> None:
    plan = RetryPlan((100.0,))
    waits = [plan.choose_wait(1) or 0.0 for _ in range(200)]
    assert 100 * (1 - JITTER) <= min(waits) < max(waits) <= 100 * (1 + JITTER)
    assert len(set(waits)) > 100


def test_the_last_attempt_follows_the_last_wait() -> None:
    plan = RetryPlan((5.0, 300.0), draw=middle)
    assert [plan.choose_wait(attempt) for attempt in (1, 2, 3, 4)] == [5.0, 300.0, None, None]
    assert RetryPlan(()).choose_wait(1, retry_after_s=60) is None


def test_a_retry_after_puts_off_and_never_brings_forward() -> None:
    plan = RetryPlan((5.0, 36_000.0), draw=middle)
    assert plan.choose_wait(1, retry_after_s=120) == 120
    assert plan.choose_wait(1, retry_after_s=1) == 5.0
    assert plan.choose_wait(1, retry_after_s=10 * DAY_S) == MAX_RETRY_AFTER_S
    assert plan.choose_wait(2, retry_after_s=120) == 36_000.0


@pytest.mark.parametrize(
    ("header", "expected_s"),
    [
        (None, 0),
        ("120", 120),
        (" 7 ", 7),
        ("9" * 4_000, MAX_RETRY_AFTER_S),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("", 0),
        ("٣", 0),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30),
        (format_datetime(NOW - timedelta(days=3), usegmt=True), 0),
        (format_datetime(NOW + timedelta(days=400), usegmt=True), MAX_RETRY_AFTER_S),
        ("Sun, 01 Feb 2026 00:00:20 -0000", 30),
        ("Fri, 99 Foo 2026 99:99:99 GMT", 0),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(header: str | None, expected_s: float) -> None:
    assert read_retry_after(header, now=NOW) == expected_s


def test_waits_are_positive_numbers() -> None:
    assert parse_waits_s(" 0.5, 10 ,") == (0.5, 10.0)
    assert parse_waits_s("") == ()
    for wrong in ("0", "-1", "nan", "inf", "5;6", "soon"):
        with pytest.raises(ValueError, match=r"."):
            parse_waits_s(wrong)


def test_deliveries_that_failed_together_are_retried_one_by_one() -> None:
    plan = RetryPlan((300.0,))
    due = sorted(plan.choose_wait(1) or 0.0 for _ in range(1_000))
    assert max(later - earlier for earlier, later in itertools.pairwise(due)) < 0.1 * 300
    assert due[-1] - due[0] > 300 * JITTER
