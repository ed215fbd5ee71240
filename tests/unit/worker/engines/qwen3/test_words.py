"""Units of the aligner become words as spelled in the text, with times in order."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audio_format import SAMPLE_RATE_HZ
from worker.engines.protocol import Span, Window
from worker.engines.qwen3.words import AlignedUnit, find_words, is_spoken, make_words, spread_times


def make_window(*spans_s: tuple[float, float]) -> Window:
    spans = tuple(Span(round(start * SAMPLE_RATE_HZ), round(end * SAMPLE_RATE_HZ)) for start, end in spans_s)
    samples = np.zeros(sum(span.length for span in spans), np.float32)
    return Window(index=0, spans=spans, samples=samples, end_sample=spans[-1].end)


def spell(text: str, *units: str) -> list[str]:
    return [text[place] for place in find_words(text, units) if place]


@pytest.mark.parametrize(
    ("text", "units", "words"),
    [
        ('The "quick" fox, isn\'t it?', "The quick fox isn't it", ["The", "quick", "fox", "isn't", "it"]),
        ("A well-known 3.14 (50%)", "A wellknown 314 50", ["A", "well-known", "3.14", "50"]),
        ("我想喝 iPhone 15，好。", "我 想 喝 iPhone 15 好", ["我", "想", "喝", "iPhone", "15", "好"]),
        ("ﾎﾟｹﾓﾝ、ＡＢＣ今日", "ポケモン ABC 今日", ["ﾎﾟｹﾓﾝ", "ＡＢＣ", "今日"]),  # noqa: RUF001
        ("Große STRASSE", "grosse straße", ["Große", "STRASSE"]),
        ("he said ' so ' - no", "he said ' so ' no", ["he", "said", "so", "no"]),
        ("cafe\u0301, si", "cafe si", ["cafe\u0301", "si"]),
        ("one two three", "one zwei three", ["one", "two", "three"]),
        ("one two three", "one", ["one two three"]),
        ("...", "", []),
    ],
)  # fmt: skip
def test_words_are_spelled_as_in_the_text_without_punctuation(
    text: str, units: str, words: list[str]
) -> None:
    assert spell(text, *units.split()) == words


def is_letter_or_digit(character: str) -> bool:
    return unicodedata.category(character)[0] in "LN"


@given(text=st.text(), units=st.lists(st.text(max_size=8)))
def test_every_letter_and_digit_is_in_one_word_and_in_order(text: str, units: list[str]) -> None:
    places = find_words(text, units)

    assert len(places) == len(units)
    found = [place for place in places if place]
    covered = [number for place in found for number in range(*place.indices(len(text)))]
    assert covered == sorted(set(covered))
    letters = {number for number, character in enumerate(text) if is_letter_or_digit(character)}
    if any(map(is_spoken, units)):
        assert letters <= set(covered)
    assert all(place.start in letters for place in found)


@given(words=st.lists(st.sampled_from(["one", "isn't", "3", "好", "ß", "한국", "ｶﾞ", "ﬁne"]), min_size=1))
def test_units_made_from_the_text_find_their_words_again(words: list[str]) -> None:
    text = "«" + ", ".join(words) + ".»"
    folded = [unicodedata.normalize("NFKC", word).replace("'", "") for word in words]

    assert spell(text, *folded) == words


def test_words_without_length_get_one_and_stay_in_order() -> None:
    times = [(0.08, 0.08), (0.08, 0.08), (0.08, 0.4), (1.0, 1.0)]

    spread = spread_times(times, limit_s=1.0)

    rounded = [(round(start_s, 3), round(end_s, 3)) for start_s, end_s in spread]
    assert rounded == [(0.08, 0.1), (0.1, 0.12), (0.12, 0.4), (0.98, 1.0)]


@given(
    times=st.lists(st.tuples(st.floats(0, 12), st.floats(0, 12)), max_size=40),
    limit_s=st.floats(0.1, 10),
)
def test_times_are_ordered_inside_and_long_enough(times: list[tuple[float, float]], limit_s: float) -> None:
    spread = spread_times(times, limit_s=limit_s)

    moments = [moment for pair in spread for moment in pair]
    assert moments == sorted(moments)
    assert all(0 <= moment <= limit_s for moment in moments)
    least_s = min(0.02, limit_s / max(1, len(times)))
    assert all(end_s - start_s >= least_s - 1e-6 for start_s, end_s in spread)


def test_words_lie_on_both_sides_of_the_silence_that_was_left_out() -> None:
    window = make_window((10.0, 12.0), (70.0, 73.0))
    units = [AlignedUnit("two", 0.48, 1.04), AlignedUnit("one", 1.92, 3.04), AlignedUnit("six", 3.2, 3.2)]

    words = make_words(window, "Two. One, six!", units)

    assert [(word.text, word.start_s, word.end_s) for word in words] == [
        ("Two", 10.48, 11.04),
        ("One", 70.0, 71.04),
        ("six", 71.2, 71.22),
    ]


@given(
    spans=st.lists(st.tuples(st.floats(0.3, 4), st.floats(0.1, 60)), min_size=1, max_size=4),
    times=st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20)), min_size=1, max_size=20),
)
def test_words_are_monotonic_and_inside_their_window(
    spans: list[tuple[float, float]], times: list[tuple[float, float]]
) -> None:
    bounds, now_s = [], 5.0
    for length_s, pause_s in spans:
        bounds.append((now_s, now_s + length_s))
        now_s += length_s + pause_s
    window = make_window(*bounds)

    words = make_words(window, "a " * len(times), [AlignedUnit("a", *sorted(pair)) for pair in times])

    moments = [moment for word in words for moment in (word.start_s, word.end_s)]
    assert len(words) == len(times)
    assert moments == sorted(moments)
    assert moments[0] >= bounds[0][0] - 0.001
    assert moments[-1] <= bounds[-1][1] + 0.001
