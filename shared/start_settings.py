"""The reading of settings at a start: one line about a wrong one, and warnings of misspelt names."""

import difflib
import os
import sys
from collections.abc import Iterable, Mapping
from typing import NoReturn, TypeVar

import structlog
from pydantic import AliasChoices, SecretStr, ValidationError
from pydantic_settings import BaseSettings

from shared.faults import explain_fault

BAD_SETTING_EXIT_CODE = 2

# `MODLE_ID` has a likeness of 0.88 to its setting. No two settings are as alike.
_LIKENESS = 0.85

_logger = structlog.get_logger(__name__)

Settings = TypeVar("Settings", bound=BaseSettings)


class BadSetting(Exception):
    """Raised if a setting has an invalid value. The message is one line for the user, and shows no secret."""


def read_settings(kind: type[Settings]) -> Settings:
    """Return the settings in the environment.

    Raises:
        BadSetting: a setting has an invalid value.
    """
    try:
        return kind()
    except ValidationError as problem:
        # It gets no cause: a traceback would show secrets.
        raise BadSetting(_describe(kind, problem)) from None


def load_settings(kind: type[Settings]) -> Settings:
    """Return the settings in the environment, or end this process with one line about an invalid value."""
    try:
        return read_settings(kind)
    except BadSetting as problem:
        exit_with(problem)


def exit_with(problem: object) -> NoReturn:
    """End this process with one line about a setting that cannot be used."""
    sys.stderr.write(f"{problem}\n")
    sys.exit(BAD_SETTING_EXIT_CODE)


def warn_of_misspelt_settings(kind: type[BaseSettings]) -> None:
    """Log a warning for each variable of the environment that is nearly a name of this class."""
    for name, nearest in find_misspelt(os.environ, list_names(kind)).items():
        _logger.warning("setting_unknown", setting=name, nearest=nearest)


def list_names(kind: type[BaseSettings]) -> list[str]:
    """Return the environment variables that this class reads, former names included."""
    return [name for field in kind.model_fields for name in _list_names(kind, field)]


def find_misspelt(environment: Iterable[str], known: Iterable[str]) -> Mapping[str, str]:
    """Return the variables of the `environment` that are nearly a `known` name, each with that name."""
    names = sorted(known)
    unknown = {name for name in environment if name.upper() not in names}
    nearest = {
        name: difflib.get_close_matches(name.upper(), names, n=1, cutoff=_LIKENESS)
        for name in sorted(unknown)
    }
    return {name: found[0] for name, found in nearest.items() if found}


def _describe(kind: type[BaseSettings], problem: ValidationError) -> str:
    first = problem.errors()[0]
    field = _find_field(kind, str(first["loc"][0]))
    # An @ in a URL follows a password.
    is_secret = kind.model_fields[field].annotation is SecretStr or "@" in str(first["input"])
    given = "" if is_secret else f"={first['input']}"
    return f"{_find_given_name(kind, field)}{given}: {explain_fault(first)}."


def _find_field(kind: type[BaseSettings], location: str) -> str:
    """Return the field at this place of an error, which is its name or one of its variables."""
    return next(
        field for field in kind.model_fields if location.upper() in (field.upper(), *_list_names(kind, field))
    )


def _find_given_name(kind: type[BaseSettings], field: str) -> str:
    """Return the variable that gives this setting: a former name if only that is set."""
    given = {name.upper() for name, value in os.environ.items() if value}
    names = _list_names(kind, field)
    return next((name for name in names if name in given), names[0])


def _list_names(kind: type[BaseSettings], field: str) -> list[str]:
    alias = kind.model_fields[field].validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [field]
    return [str(name).upper() for name in choices]
