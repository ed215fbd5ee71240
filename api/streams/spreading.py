"""Spreading what thousands of streams do now and then: those that began together are not due together."""

import random


def spread(longest: float) -> float:
    """Something between a half of `longest` and all of it."""
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - it is no secret
