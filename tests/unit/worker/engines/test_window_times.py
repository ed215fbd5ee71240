"""Times of a window become times of the upload, and do not run on through silence that was left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audio_format import SAMPLE_RATE_HZ
from worker.audio.window_plan import WindowConfig
from worker.engines.protocol import Span, Window


def make_window(*spans_s: tuple[float, float]) -> Window:
    spans = tuple(Span(round(start * SAMPLE_RATE_HZ), round(end * SAMPLE_RATE_HZ)) for start, end in spans_s)
    samples = np.zeros(sum(span.length for span in spans), np.float32)
    return Window(index=0, spans=spans, samples=samples, end_sample=spans[-1].end)


# Ten seconds of sound, of which the first four and the last six are a minute apart.
WINDOW = make_window((10.0, 14.0), (74.0, 80.0))


@pytest.mark.parametrize(
    ("in_window", "in_upload"),
    [
        ((0.5, 3.5), (10.5, 13.5)),
        ((5.0, 9.0), (75.0, 79.0)),
        ((2.0, 8.0), (12.0, 78.0)),
    ],
    ids=["in the first span", "in the last span", "in both"],
)
def test_an_interval_lies_where_its_samples_come_from(
    in_window: tuple[float, float], in_upload: tuple[float, float]
) -> None:
    assert WINDOW.to_upload_interval_s(*in_window) == in_upload


def test_an_end_that_only_touches_the_next_span_stays_before_the_silence() -> None:
    assert WINDOW.to_upload_interval_s(1.0, 4.3) == (11.0, 14.0)


def test_a_start_that_only_touches_the_span_before_comes_after_the_silence() -> None:
    assert WINDOW.to_upload_interval_s(3.8, 7.0) == (74.0, 77.0)


def test_a_start_that_reaches_into_all_of_the_silence_at_an_edge_comes_after_it() -> None:
    edge_silence_s = WindowConfig().edge_silence_s

    assert WINDOW.to_upload_interval_s(4.0 - edge_silence_s - 0.05, 7.0) == (74.0, 77.0)


def test_a_short_word_across_two_spans_lies_where_most_of_it_is() -> None:
    assert WINDOW.to_upload_interval_s(3.9, 4.2) == pytest.approx((74.0, 74.2))
    assert WINDOW.to_upload_interval_s(3.8, 4.1) == pytest.approx((13.8, 14.0))


def test_an_interval_beyond_the_window_ends_with_it() -> None:
    assert WINDOW.to_upload_interval_s(9.0, 30.0) == (79.0, 80.0)
    assert WINDOW.to_upload_interval_s(20.0, 30.0) == (80.0, 80.0)


def test_an_interval_without_length_has_a_place() -> None:
    assert WINDOW.to_upload_interval_s(5.0, 5.0) == (75.0, 75.0)


@given(st.floats(0, 40), st.floats(0, 40))
def test_a_place_is_inside_the_spans_and_not_backwards(one_s: float, other_s: float) -> None:
    start_s, end_s = WINDOW.to_upload_interval_s(min(one_s, other_s), max(one_s, other_s))

    assert start_s <= end_s
    assert all(10 <= moment_s <= 14 or 74 <= moment_s <= 80 for moment_s in (start_s, end_s))
