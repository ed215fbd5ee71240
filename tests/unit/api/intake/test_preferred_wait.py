"""The preference `wait`, as RFC 7240 lets clients write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.intake.preferred_wait import parse_wait


@pytest.mark.parametrize(
    "values",
    [
        ["wait=10"],
        ["Wait = 10"],
        ['wait="10"'],
        ["respond-async, wait=10"],
        ["respond-async", "wait=10"],
        ["wait=10; strict=yes"],
        ["wait=10, wait=20"],
        ['a="x, \\", wait=3", wait=10'],
        ["wait=soon, wait=10"],
    ],
)
def test_the_first_wait_counts_however_it_is_written(values: list[str]) -> None:
    assert parse_wait(values) == 10


@pytest.mark.parametrize(
    "values",
    [[], [""], ["wait"], ["wait="], ["wait=-1"], ["wait=1.5"], ["wait=1e3"], ["await=10"], ['wait="1']],
)
def test_what_makes_no_sense_is_ignored(values: list[str]) -> None:
    assert parse_wait(values) is None


@given(st.lists(st.text(alphabet='wait=0123";,\\ ')))
def test_anything_may_come(values: list[str]) -> None:
    waited_s = parse_wait(values)
    assert waited_s is None or waited_s >= 0
