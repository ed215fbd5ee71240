"""The text so far follows the log: partials, then the segments that replace them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from api.streams.partial_text import PartialText
from shared.events import AnyEvent, Partial, Progress, Requeued, SegmentDone, Started
from shared.transcripts import Segment, join_segments


def text_of(*events: AnyEvent, hint: str | None = None) -> str:
    partial = PartialText(hint)
    partial.take(events)
    return partial.text


def done(text: str, language: str | None = "en") -> SegmentDone:
    return SegmentDone(Segment(0, 1, text, language))


def test_deltas_are_appended_and_only_the_last_tail_counts() -> None:
    assert text_of(Partial(0, "Hello", " wor"), Partial(0, " world", ", how")) == "Hello world, how"


def test_a_window_that_ends_without_a_segment_takes_its_partials_with_it() -> None:
    assert text_of(Partial(0, "uh"), Progress(2, 4), Partial(1, "Hello")) == "Hello"


def test_a_finished_window_replaces_its_partials() -> None:
    assert (
        text_of(Partial(0, "Helo word"), done("Hello world."), Partial(1, "How are"))
        == "Hello world. How are"
    )


def test_windows_that_are_open_at_once_stand_in_their_order() -> None:
    assert text_of(Partial(2, "three"), Partial(1, "two"), Partial(2, " four")) == "two three four"


def test_a_requeued_job_loses_its_partials_but_not_its_segments() -> None:
    assert (
        text_of(done("Kept."), Partial(1, "lost"), Requeued("worker_lost"), Started(2, "whisper", "base"))
        == "Kept."
    )


def test_unspaced_scripts_are_joined_without_spaces() -> None:
    assert text_of(done("你好", "zh"), Partial(1, "世界")) == "你好世界"
    assert text_of(Partial(0, "你好"), Partial(1, "世界"), hint="zh") == "你好世界"


def test_the_language_has_most_of_the_speech_and_before_that_is_the_hint() -> None:
    partial = PartialText("de")
    assert partial.language == "de"
    partial.take([done("hello", "en"), Progress(1, 2)])
    assert partial.language == "en"


def test_the_detected_language_is_known_before_a_window_is_finished() -> None:
    partial = PartialText(None)
    partial.take([Partial(0, "", "Gut"), Partial(0, "Guten", "", "de")])
    assert partial.language == "de"


def test_without_events_there_is_no_text() -> None:
    assert text_of() == ""


@settings(deadline=None)
@given(st.lists(st.text("abc ", min_size=1), max_size=6))
def test_at_the_end_it_is_the_text_of_the_segments(texts: list[str]) -> None:
    events = [event for text in texts for event in (Partial(0, text[:2]), done(text))]
    assert text_of(*events) == join_segments(Segment(0, 1, text, "en") for text in texts)
