"""Partials on their way to the job's log: joined while they wait, and sent in a reliable order.

The model process sends them through `PartialThrottle`. The worker publishes them through `PartialOutbox`.
"""

import time
from collections.abc import Callable

from shared.events import Partial

PARTIAL_INTERVAL_S = 0.05
"""Seconds between two partials of a job, over all its windows. Those that come faster are joined."""


class PartialThrottle:
    """Sends at most one partial of a job per PARTIAL_INTERVAL_S, and joins the others by window.

    Final text is sent in the order of the windows, since text of one window implies that all earlier windows
    are complete. Tails imply nothing and may overtake: they get every second turn, the longest wait first.
    """

    def __init__(
        self, send: Callable[[Partial], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._send = send
        self._clock = clock
        self._waiting: dict[int, Partial] = {}  # in the order in which they began to wait
        self._is_turn_of_tails = False
        self._sent_at = float("-inf")

    def add(self, partial: Partial) -> None:
        """Take `partial`, and send as many of those that wait as the time since the last one allows."""
        _join(self._waiting, partial)
        now = self._clock()
        since_s = now - self._sent_at
        while self._waiting and since_s >= PARTIAL_INTERVAL_S:
            self._send(self._waiting.pop(self._choose_window()))
            since_s -= PARTIAL_INTERVAL_S
            # Partials that still wait may go as soon as if this one had been sent on time.
            self._sent_at = now - since_s if self._waiting else now

    def discard(self) -> None:
        """Drop the partials that wait, since their windows are finished."""
        self._waiting.clear()

    def _choose_window(self) -> int:
        first = min(self._waiting)
        tails = (window for window, waiting in self._waiting.items() if window > first and not waiting.delta)
        chosen = next(tails, first) if self._is_turn_of_tails else first
        self._is_turn_of_tails = not self._is_turn_of_tails
        return chosen


class PartialOutbox:
    """Keeps the partials of open windows until they are in the log: each once, in order, without a gap.

    If Redis fails, it is unknown whether the last partial is in the log. It is tried again unchanged and with
    the same count before it, so that the log can recognize it. Later partials are joined by window.
    """

    def __init__(self) -> None:
        self.published = 0
        """The number of partials of the open windows that are certainly in the log."""
        self._next: Partial | None = None
        self._waiting: dict[int, Partial] = {}

    def add(self, partial: Partial) -> None:
        """Add `partial` to those that wait."""
        _join(self._waiting, partial)

    def find_next(self) -> Partial | None:
        """Return the partial to publish, the same one until `confirm`; None if there is none."""
        if self._next is None and self._waiting:
            # Text of one window implies that all earlier windows are complete.
            self._next = self._waiting.pop(min(self._waiting))
        return self._next

    def confirm(self) -> None:
        """Count the partial of `find_next` as published."""
        self.published += 1
        self._next = None

    def clear(self) -> None:
        """Start anew, since the windows are finished and the log has dropped their partials."""
        self.published = 0
        self._next = None
        self._waiting.clear()


def _join(waiting: dict[int, Partial], new: Partial) -> None:
    """Append `new` to the partial of its window; its tail and language replace the older ones."""
    known = waiting.get(new.window)
    delta = (known.delta if known else "") + new.delta
    waiting[new.window] = Partial(new.window, delta, new.tail, new.language)
