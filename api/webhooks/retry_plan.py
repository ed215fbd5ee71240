"""The meaning of a receiver's answer, and the time of the next attempt."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from random import SystemRandom

JITTER = 0.2
"""The part by which a wait is made shorter or longer, so that deliveries that failed together spread out."""

MAX_RETRY_AFTER_S = 3_600.0
"""The longest that a receiver's Retry-After can put off the next attempt."""

_TEMPORARY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


class Verdict(Enum):
    """The meaning of an attempt for its delivery."""

    DELIVERED = "delivered"  # the receiver has it
    RETRY = "retry"  # the receiver may take it later
    REFUSED = "refused"  # the receiver will never take it


def judge_status(status: int) -> Verdict:
    """Return the meaning of the status `status`. A redirect is a refusal, since none is followed."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Verdict.DELIVERED
    if status in _TEMPORARY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Verdict.RETRY
    return Verdict.REFUSED


def read_retry_after(header: str | None, *, now: datetime) -> float:
    """Return the seconds that a Retry-After header asks for, as a number or a date; 0 if it is malformed."""
    if header is None:
        return 0.0
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER_S)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    wait_s = ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)


@dataclass(frozen=True)
class RetryPlan:
    """The waits after failed attempts. One more attempt follows the last wait."""

    waits_s: tuple[float, ...]
    draw: Callable[[float, float], float] = SystemRandom().uniform

    @property
    def max_attempts(self) -> int:
        """The number of attempts in all."""
        return len(self.waits_s) + 1

    @property
    def longest_s(self) -> float:
        """Seconds within which all attempts begin, if none takes time and no receiver asks for more."""
        return sum(self.waits_s) * (1 + JITTER)

    def choose_wait(self, attempt: int, *, retry_after_s: float = 0.0) -> float | None:
        """Return the seconds from attempt number `attempt`, counted from 1, to the next; None after the last.

        A receiver can put the next attempt off by up to MAX_RETRY_AFTER_S. It cannot bring it forward: the
        plan would be used up too early.
        """
        if attempt > len(self.waits_s):
            return None
        planned_s = self.waits_s[attempt - 1] * self.draw(1 - JITTER, 1 + JITTER)
        return max(planned_s, min(retry_after_s, MAX_RETRY_AFTER_S))
