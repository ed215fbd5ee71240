"""What a client says of its timeout is taken if it makes sense."""

import math

import pytest
from starlette.datastructures import Headers

from api.intake.client_timeout import read_client_timeout

PYTHON, NODE = "x-stainless-read-timeout", "X-Stainless-Timeout"


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
def test_the_time_a_client_waits_is_the_shorter_one_of_those_it_says(
    headers: dict[str, str], timeout_s: float
) -> None:
    assert read_client_timeout(Headers(headers)) == timeout_s
