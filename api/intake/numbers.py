"""Numbers from clients, as all programs write them."""

import re
from typing import Annotated

from pydantic import BeforeValidator

_PLAIN_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?")


def check_float(given: object) -> object:
    """Return a number as it is given; raise ValueError for a text that only Python reads as one."""
    return _check(given, "it should be a number")


def _check_int(given: object) -> object:
    return _check(given, "it should be a whole number")


def _check(given: object, fault: str) -> object:
    """Raise ValueError for a text that only Python reads as a number: `0_1`, or digits of other scripts."""
    if isinstance(given, str) and not _PLAIN_NUMBER.fullmatch(given.strip()):
        raise ValueError(fault)
    return given


PlainFloat = Annotated[float, BeforeValidator(check_float)]
PlainInt = Annotated[int, BeforeValidator(_check_int)]
