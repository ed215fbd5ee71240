"""Partials are joined while they wait, and reach the log once, in order and without a gap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import Partial
from worker.partials import PARTIAL_INTERVAL_S, PartialOutbox, PartialThrottle

BATCH = 16


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Sent:
    """A throttle, and the partials that it has sent."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.partials: list[Partial] = []
        self.throttle = PartialThrottle(self.partials.append, clock=self.clock)

    def add(self, *partials: Partial) -> None:
        for partial in partials:
            self.throttle.add(partial)

    def add_after_pause(self, partial: Partial) -> None:
        self.clock.now_s += 10 * PARTIAL_INTERVAL_S
        self.throttle.add(partial)


def test_partials_that_come_fast_are_joined() -> None:
    sent = Sent()
    sent.add(Partial(0, "The", "", "en"), Partial(0, " tide", "", "en"))
    sent.add_after_pause(Partial(0, " is", "out", "en"))
    assert sent.partials == [Partial(0, "The", "", "en"), Partial(0, " tide is", "out", "en")]


def test_waiting_text_of_a_window_is_sent_before_text_of_the_next() -> None:
    sent = Sent()
    sent.add(Partial(0, "The"), Partial(0, " tide"))
    sent.add_after_pause(Partial(1, "Out"))
    assert sent.partials[1:] == [Partial(0, " tide"), Partial(1, "Out")]


def test_discarded_partials_are_never_sent() -> None:
    sent = Sent()
    sent.add(Partial(0, "The"), Partial(0, " tide"))
    sent.throttle.discard()
    sent.add_after_pause(Partial(1, "Out"))
    assert sent.partials[1:] == [Partial(1, "Out")]


@pytest.mark.parametrize("step_s", [0.001, 0.013, 0.05, 0.09, 0.5, 2.0])
def test_a_batch_of_windows_sends_no_more_partials_than_one_window(step_s: float) -> None:
    sent = Sent()
    steps = round(10 / step_s)

    for step in range(steps):
        sent.clock.now_s = 100 + step * step_s
        for window in range(BATCH):
            sent.add(Partial(window, " tide" if window == 0 else "", f"out {step}"))

    assert len(sent.partials) <= 1 + 10 / PARTIAL_INTERVAL_S
    assert len(sent.partials) >= min(BATCH / step_s, 1 / PARTIAL_INTERVAL_S) * (10 - 2 * step_s)


def test_windows_of_a_batch_take_turns_and_the_growing_one_is_not_late() -> None:
    sent = Sent()

    for step in range(2 * BATCH):
        sent.clock.now_s += 1.01 * PARTIAL_INTERVAL_S
        for window in range(BATCH):
            sent.add(Partial(window, " tide" if window == 0 else "", f"out {step}"))

    growing = [partial.tail for partial in sent.partials if partial.window == 0]
    assert growing == [f"out {step}" for step in range(0, 2 * BATCH, 2)]
    assert {partial.window for partial in sent.partials} == set(range(BATCH))


Growth = tuple[int, list[str], float]
growths = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.sampled_from(["a", "b", ""]), max_size=3), st.floats(0, 0.2)),
    max_size=60,
)


@given(growths)
def test_final_text_has_no_gap_and_follows_only_complete_windows(growths: list[Growth]) -> None:
    sent = Sent()
    added = dict.fromkeys(range(200), "")
    open_window = 0

    for number, (ahead, deltas, pause_s) in enumerate(growths):
        sent.clock.now_s += pause_s
        sent.add(Partial(open_window + ahead, "", f"tail {number}"))
        for delta in deltas:
            added[open_window] += delta
            sent.add(Partial(open_window, delta, f"tail {number}"))
        open_window += ahead == 0
    sent.clock.now_s += 1000
    sent.add(Partial(open_window, "", "the end"))

    received = dict.fromkeys(added, "")
    for partial in sent.partials:
        received[partial.window] += partial.delta
        complete = range(partial.window if partial.delta else 0)
        assert all(received[window] == added[window] for window in complete)
    assert received == added


def fill(*partials: Partial) -> PartialOutbox:
    outbox = PartialOutbox()
    for partial in partials:
        outbox.add(partial)
    return outbox


def publish_all(outbox: PartialOutbox) -> list[Partial]:
    """Return all partials of the outbox, in the order in which they are published."""
    published = []
    while (due := outbox.find_next()) is not None:
        published.append(due)
        outbox.confirm()
    return published


def test_a_new_outbox_is_empty() -> None:
    assert PartialOutbox().find_next() is None


def test_deltas_of_a_window_are_joined_with_the_newest_tail_and_language() -> None:
    outbox = fill(Partial(0, "on", "e", None), Partial(0, "e", " tw", "en"), Partial(0, " two", "", "de"))
    assert publish_all(outbox) == [Partial(0, "one two", "", "de")]


def test_an_empty_tail_takes_back_the_one_before() -> None:
    assert publish_all(fill(Partial(0, "a", "b"), Partial(0, "", ""))) == [Partial(0, "a")]


def test_windows_are_published_one_by_one_in_their_order() -> None:
    outbox = fill(Partial(2, "e"), Partial(1, "c"), Partial(2, "f"), Partial(1, "d"))
    assert publish_all(outbox) == [Partial(1, "cd"), Partial(2, "ef")]


def test_an_unconfirmed_partial_is_tried_again_unchanged_before_later_ones() -> None:
    outbox = fill(Partial(1, "one"))
    assert outbox.find_next() == Partial(1, "one")
    outbox.add(Partial(1, " two", "x"))
    outbox.add(Partial(0, "zero"))
    assert publish_all(outbox) == [Partial(1, "one"), Partial(0, "zero"), Partial(1, " two", "x")]


def test_only_confirmed_partials_are_counted() -> None:
    outbox = fill(Partial(0, "one"))
    outbox.find_next()
    assert outbox.published == 0
    outbox.confirm()
    assert outbox.published == 1


def test_a_cleared_outbox_publishes_and_counts_nothing() -> None:
    outbox = fill(Partial(0, "one"))
    outbox.find_next()
    outbox.confirm()
    outbox.add(Partial(0, "two"))
    outbox.find_next()
    outbox.add(Partial(0, "three"))
    outbox.clear()
    assert (outbox.find_next(), outbox.published) == (None, 0)
