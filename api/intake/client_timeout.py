"""How long a client says that it will wait: headers that OpenAI's clients send with every request."""

import math
from collections.abc import Mapping

# Of the client for Python (how long it waits for the next byte), and of the one for Node; in seconds.
_HEADERS = ("x-stainless-read-timeout", "x-stainless-timeout")

MIN_TIMEOUT_S = 1.0
MAX_TIMEOUT_S = 86_400.0
"""What is outside of these is taken for no timeout at all; Node rounds less than a second down to 0."""


def read_client_timeout(headers: Mapping[str, str]) -> float:
    """The seconds that the client waits; infinite where it does not say, or says what makes no sense."""
    said = (_parse_timeout(headers.get(name, "")) for name in _HEADERS)
    return min(timeout_s if MIN_TIMEOUT_S <= timeout_s <= MAX_TIMEOUT_S else math.inf for timeout_s in said)


def _parse_timeout(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.inf
