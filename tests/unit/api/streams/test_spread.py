"""Periodic work of many streams is spread over time."""

from api.streams.following import spread


def test_no_two_wait_equally_long_and_none_for_less_than_half_or_more() -> None:
    waits = {spread(10.0) for _ in range(100)}
    assert len(waits) > 90
    assert all(5.0 <= wait <= 10.0 for wait in waits)
