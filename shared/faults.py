"""The wording of what pydantic finds wrong with a setting, a query parameter or a form field."""

import re
from collections.abc import Mapping
from typing import Any

_OF_PYDANTIC = re.compile("^(Input|String) should")
_WANTED = {"bool_parsing": "true or false", "int_parsing": "a whole number", "float_parsing": "a number"}


def explain_fault(fault: Mapping[str, Any]) -> str:
    """Return what is wrong with a value: `it should be a whole number`, or the text of our own ValueError.

    `fault` is one of the errors that pydantic's ValidationError lists.
    """
    if "error" in fault.get("ctx", {}):
        return str(fault["ctx"]["error"])
    wanted = _WANTED.get(fault["type"])
    return f"it should be {wanted}" if wanted else _OF_PYDANTIC.sub("it should", fault["msg"])


def describe_input(name: str, fault: Mapping[str, Any]) -> str:
    """Return the sentence about a parameter `name` from a client."""
    return f"{name} is {str(fault['input'])[:100]!r}: {explain_fault(fault)}."
