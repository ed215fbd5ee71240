"""The preference `wait` of RFC 7240, and the timeouts of OpenAI's clients."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from api.intake.headers import parse_wait, read_client_timeout

PYTHON, NODE = "x-stainless-read-timeout", "X-Stainless-Timeout"


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
def test_an_invalid_preference_is_ignored(values: list[str]) -> None:
    assert parse_wait(values) is None


@given(st.lists(st.text(alphabet='wait=0123";,\\ ')))
def test_any_header_is_read_without_an_error(values: list[str]) -> None:
    waited_s = parse_wait(values)
    assert waited_s is None or waited_s >= 0


@pytest.mark.parametrize(
    ("headers", "timeout_s"),
    [
        ({}, math.inf),
        ({PYTHON: "600"}, 600),
        ({PYTHON: "8.5"}, 8.5),
        ({NODE: "600"}, 600),
        ({NODE: "1"}, 1),
        ({PYTHON: "600", NODE: "8"}, 8),
        ({PYTHON: "never", NODE: "8"}, 8),
        ({PYTHON: "86400"}, 86_400),
        *(({PYTHON: text}, math.inf) for text in ("", "0", "0.7", "-8", "nan", "inf", "1e9", "None", "8 s")),
    ],
)
def test_the_shorter_of_two_client_timeouts_counts(headers: dict[str, str], timeout_s: float) -> None:
    assert read_client_timeout(Headers(headers)) == timeout_s
