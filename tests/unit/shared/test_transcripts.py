"""Texts are joined by the rules of their language, which the transcript names."""

from hypothesis import given
from hypothesis import strategies as st

from shared.transcripts import Segment, compose_transcript, join_texts, main_language

words = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)


def test_english_windows_are_joined_by_one_space() -> None:
    assert join_texts([("Good morning.", "en"), (" How are you?", "en")]) == "Good morning. How are you?"


def test_chinese_and_japanese_windows_are_joined_without_a_space() -> None:
    assert join_texts([("今天", "zh"), ("天气好。", "zh")]) == "今天天气好。"
    assert join_texts([("今日は", "ja"), ("晴れ。", "ja")]) == "今日は晴れ。"


def test_a_window_without_text_adds_nothing() -> None:
    assert join_texts([("one", "en"), ("  ", "en"), ("two", "en"), ("", None)]) == "one two"


@given(st.lists(words, max_size=6))
def test_spaced_texts_can_be_split_again(texts: list[str]) -> None:
    assert join_texts((text, "en") for text in texts).split() == texts


@given(st.lists(words, max_size=6))
def test_unspaced_texts_are_concatenated(texts: list[str]) -> None:
    assert join_texts((text, "zh") for text in texts) == "".join(texts)


@given(st.lists(words, max_size=4), st.lists(words, max_size=4))
def test_joining_in_two_steps_gives_the_same(first: list[str], second: list[str]) -> None:
    at_once = join_texts((text, "de") for text in first + second)
    beginning = join_texts((text, "de") for text in first)
    assert join_texts([(beginning, "de"), *((text, "de") for text in second)]) == at_once


def test_the_language_of_a_transcript_is_the_one_with_most_speech() -> None:
    segments = [Segment(0, 2, "a", "en"), Segment(2, 7, "b", "de"), Segment(7, 10, "c", "en")]
    assert main_language(segments) in ("en", "de")
    assert main_language([*segments, Segment(10, 11, "d", "en")]) == "en"


def test_silence_makes_an_empty_transcript_without_a_language() -> None:
    transcript = compose_transcript([], duration_s=2.0)
    assert (transcript.text, transcript.language, transcript.segments) == ("", None, ())
