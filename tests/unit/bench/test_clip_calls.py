"""Clips arrive as a Poisson process with a fixed seed."""

import pytest

from tests.bench.clip_calls import draw_arrivals


def test_arrivals_are_always_the_same_and_have_the_rate_on_average() -> None:
    arrivals_s = draw_arrivals(10, 200)

    assert arrivals_s == draw_arrivals(10, 200)
    assert arrivals_s == sorted(arrivals_s)
    assert len(arrivals_s) == 2_000
    assert arrivals_s[-1] == pytest.approx(200, rel=0.1)


def test_a_short_stream_has_one_clip_at_least() -> None:
    assert len(draw_arrivals(0.1, 1)) == 1
