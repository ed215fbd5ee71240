"""Partials that could not be told are kept, joined by window, and tried again until they are."""

from shared.events import Partial
from worker.jobs.unpublished_partials import UntoldPartials


def fill(*partials: Partial) -> UntoldPartials:
    untold = UntoldPartials()
    for partial in partials:
        untold.add(partial)
    return untold


def tell_all(untold: UntoldPartials) -> list[Partial]:
    """All that there is to tell, in its order."""
    told = []
    while (due := untold.take_next()) is not None:
        told.append(due)
        untold.note_told()
    return told


def test_nothing_is_to_be_told_at_first() -> None:
    assert UntoldPartials().take_next() is None


def test_deltas_of_a_window_are_joined_with_the_newest_tail_and_language() -> None:
    untold = fill(Partial(0, "on", "e", None), Partial(0, "e", " tw", "en"), Partial(0, " two", "", "de"))
    assert tell_all(untold) == [Partial(0, "one two", "", "de")]


def test_an_empty_tail_takes_back_the_one_before() -> None:
    assert tell_all(fill(Partial(0, "a", "b"), Partial(0, "", ""))) == [Partial(0, "a")]


def test_windows_are_told_one_by_one_in_their_order() -> None:
    untold = fill(Partial(2, "e"), Partial(1, "c"), Partial(2, "f"), Partial(1, "d"))
    assert tell_all(untold) == [Partial(1, "cd"), Partial(2, "ef")]


def test_a_partial_that_was_tried_is_tried_again_as_it_was_before_what_came_later() -> None:
    untold = fill(Partial(1, "one"))
    assert untold.take_next() == Partial(1, "one")
    untold.add(Partial(1, " two", "x"))
    untold.add(Partial(0, "zero"))
    assert tell_all(untold) == [Partial(1, "one"), Partial(0, "zero"), Partial(1, " two", "x")]


def test_only_what_was_told_for_certain_is_counted() -> None:
    untold = fill(Partial(0, "one"))
    untold.take_next()
    assert untold.told == 0
    untold.note_told()
    assert untold.told == 1


def test_what_is_forgotten_is_neither_told_nor_counted() -> None:
    untold = fill(Partial(0, "one"))
    untold.take_next()
    untold.note_told()
    untold.add(Partial(0, "two"))
    untold.take_next()
    untold.add(Partial(0, "three"))
    untold.forget()
    assert (untold.take_next(), untold.told) == (None, 0)
