"""The fields of a form that an endpoint ignores. The answer names them, so that a typing error is found."""

import difflib
from collections.abc import Iterable, Sequence
from urllib.parse import quote

import structlog

from api.intake.form_fields import UNSERVED_FIELDS
from api.intake.forms import SpeechForm
from api.intake.multipart import FILE_FIELD

_MAX_NAMED = 20
_MAX_CHARACTERS = 60

_logger = structlog.get_logger(__name__)


def find_ignored(kind: type[SpeechForm], names: Iterable[str]) -> Sequence[str]:
    """Return the `names` of fields that this form neither reads nor refuses."""
    known = {*kind.list_names(), *kind.refused, *UNSERVED_FIELDS, FILE_FIELD}
    return [name for name in names if name.partition("[")[0] not in known]


def log_ignored(kind: type[SpeechForm], ignored: Sequence[str]) -> None:
    """Log the `ignored` fields, with the field of this form that each may mean."""
    if not ignored:
        return
    named = [name[:_MAX_CHARACTERS] for name in ignored[:_MAX_NAMED]]
    nearest = {
        name: near
        for name in named
        for near in difflib.get_close_matches(name.partition("[")[0], kind.list_names(), n=1)
    }
    _logger.info("fields_ignored", fields=named, nearest=nearest)


def name_ignored(ignored: Sequence[str]) -> str:
    """Return the names for the header `X-Ignored-Fields`, with unusual characters percent-encoded."""
    # A header must not end with the space after which an empty name would stand.
    named = [name[:_MAX_CHARACTERS] for name in ignored[:_MAX_NAMED] if name]
    return ", ".join(quote(name, safe="[]") for name in named)
