"""What an answer to a delivery means, and when the next try is due."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from random import SystemRandom

JITTER = 0.2
"""By which part of it a wait may be shorter or longer: what failed together is not to come together."""

MAX_RETRY_AFTER_S = 3_600.0
"""The longest that a receiver's Retry-After can put the next try off."""

_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_FIRST_ERROR_OF_SERVER = 500


class Fate(Enum):
    """What becomes of a delivery after a try."""

    DELIVERED = "delivered"  # the receiver has it
    RETRY = "retry"  # it may take it later
    REFUSED = "refused"  # it never will


def judge_status(status: int) -> Fate:
    """The fate of a delivery that was answered with `status`. A redirect is a refusal: none is followed."""
    if HTTPStatus(200) <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Fate.DELIVERED
    if status in _PASSING or status >= _FIRST_ERROR_OF_SERVER:
        return Fate.RETRY
    return Fate.REFUSED


def read_retry_after(header: str | None, *, now: datetime) -> float:
    """Seconds that a Retry-After header asks for, given as such or as a date; 0 where it makes no sense."""
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


def parse_waits(setting: str) -> tuple[float, ...]:
    """The waits in WEBHOOK_RETRIES_S, in seconds, with commas between them.

    Raises:
        ValueError: one of them is no number of seconds.
    """
    waits = tuple(float(wait) for wait in setting.split(",") if wait.strip())
    if not all(0 < wait < float("inf") for wait in waits):
        raise ValueError("each wait must be a number of seconds above 0")
    return waits


@dataclass(frozen=True)
class RetryPlan:
    """How long to wait after each failed try; after the last of these waits comes the last try."""

    waits_s: tuple[float, ...]
    draw: Callable[[float, float], float] = SystemRandom().uniform

    @property
    def most_tries(self) -> int:
        """How often a delivery is tried in all."""
        return len(self.waits_s) + 1

    @property
    def longest_s(self) -> float:
        """Seconds within which all of them begin, if each is over at once and no receiver asks for more."""
        return sum(self.waits_s) * (1 + JITTER)

    def choose_wait(self, tries: int, *, retry_after_s: float = 0.0) -> float | None:
        """Seconds from try number `tries`, from 1, to the next one; None where it was the last.

        What a receiver asks for can put it off, within MAX_RETRY_AFTER_S, and never brings it forward: a plan
        that is used up early would give up early.
        """
        if tries > len(self.waits_s):
            return None
        planned_s = self.waits_s[tries - 1] * self.draw(1 - JITTER, 1 + JITTER)
        return max(planned_s, min(retry_after_s, MAX_RETRY_AFTER_S))
