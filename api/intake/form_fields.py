"""Parsing the text fields of a request into a form: names with brackets, lists and JSON."""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_origin

import msgspec
from pydantic import ValidationError

from api.errors.tree import UnsupportedValue
from api.intake.forms import SpeechForm
from shared.errors import InvalidRequest
from shared.faults import describe_input

MAX_METADATA_BYTES = 4_096
"""The longest JSON of `metadata`, in bytes of UTF-8."""

MAX_METADATA_DEPTH = 8
"""The deepest nesting of objects and lists in `metadata`; the object itself is level 1."""

UNSERVED_FIELDS = ("known_speaker_names", "known_speaker_references")
"""Fields of OpenAI's API that every endpoint refuses."""

_NO_SPEAKERS = "This server does not identify speakers"

_BRACKETS = re.compile(r"(\w+)\[(\w*)\]")

_CHUNKING = "chunking_strategy"
_CHUNKING_TYPES = ("auto", "server_vad")


class FieldReader:
    """A reader of text fields by name. It strips values; an empty value means absent."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self._plain: dict[str, list[str]] = {}
        self._nested: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
        for name, values in fields.items():
            stripped = [value.strip() for value in values]
            if brackets := _BRACKETS.fullmatch(name):
                self._nested[brackets[1]][brackets[2]] = stripped
            else:
                self._plain[name] = stripped

    def read_text(self, name: str) -> str:
        """Return the last value of a single-valued field; empty where it is absent."""
        return self._plain.get(name, [""])[-1]

    def read_nested(self, name: str) -> dict[str, str]:
        """Return the last value of each field `name[key]`, by key."""
        return {key: values[-1] for key, values in self._nested[name].items() if key and values[-1]}

    def read_list(self, name: str) -> list[str]:
        """Return all values of `name[]`, `name[0]` and so on, and of `name`.

        One value of `name` may also be a list, with commas or as JSON.
        """
        found = [value for values in self._nested[name].values() for value in values]
        for text in self._plain.get(name, ()):
            found += _split(text)
        return [value for value in found if value]

    def read_known(self, names: Collection[str], lists: Collection[str]) -> dict[str, object]:
        """Return the fields `names` that are present; those in `lists` have many values."""
        values = {name: self.read_list(name) if name in lists else self.read_text(name) for name in names}
        return {name: value for name, value in values.items() if value}


def parse_form(kind: type[SpeechForm], fields: Mapping[str, Sequence[str]]) -> SpeechForm:
    """Return the form of this kind that the text fields make. The last value of a repeated field counts.

    Raises:
        InvalidRequest: a field has a value that is not allowed, alone or in combination with another field.
    """
    reader = FieldReader(fields)
    _refuse_unserved(kind, reader)
    given = reader.read_known(kind.list_names(), find_lists(kind))
    given[_CHUNKING] = _read_chunking(reader.read_text(_CHUNKING), reader.read_nested(_CHUNKING))
    if "metadata" in given:
        given["metadata"] = _read_metadata(reader.read_text("metadata"))
    try:
        form = kind.model_validate(given)
    except ValidationError as error:
        raise _name_fault(error) from error
    form.check_combination()
    return form


def find_lists(kind: type[SpeechForm]) -> frozenset[str]:
    """Return the names of the fields of this form that have many values."""
    fields = kind.model_fields.items()
    return frozenset(name for name, field in fields if get_origin(field.annotation) in (tuple, frozenset))


def _refuse_unserved(kind: type[SpeechForm], reader: FieldReader) -> None:
    for name in UNSERVED_FIELDS:
        if reader.read_list(name):
            raise InvalidRequest(f"{_NO_SPEAKERS}. Omit {name}.", param=name)
    if reader.read_text("response_format") == "diarized_json":
        raise UnsupportedValue(
            f"{_NO_SPEAKERS}, so it has no response_format 'diarized_json'. Omit response_format.",
            param="response_format",
        )
    for name, harmless in kind.refused.items():
        if set(reader.read_list(name)) - harmless:
            raise InvalidRequest(f"This endpoint does not support {name}. Omit it here.", param=name)


def _name_fault(error: ValidationError) -> InvalidRequest:
    first = error.errors()[0]
    name, *inner = (str(part) for part in first["loc"])
    shown = "".join(f"[{part}]" for part in inner if not part.isdigit())
    return InvalidRequest(describe_input(name + shown, first), param=name)


def _split(text: str) -> list[str]:
    if text.startswith("["):
        try:
            return [str(value).strip() for value in json.loads(text)]
        except (ValueError, RecursionError):
            return [text]
    return [value.strip() for value in text.split(",")]


def _read_chunking(text: str, numbers: Mapping[str, str]) -> Mapping[str, object] | None:
    """Return the fields of a `ServerVad`, or None where the server chooses, as with `auto`.

    `text` is the value of `chunking_strategy`, a word or a JSON object. `numbers` are the fields
    `chunking_strategy[...]`, by the key in the brackets. Either may be empty.

    Raises:
        InvalidRequest: the type is neither `auto` nor `server_vad`, or `auto` has parameters.
    """
    strategy = {**_read_chunking_text(text), **numbers}
    kind = strategy.get("type", "server_vad" if strategy else "auto")
    if kind not in _CHUNKING_TYPES:
        raise InvalidRequest(
            f"{_CHUNKING} is {str(kind)[:100]!r}. Send `auto`, or `server_vad` with its parameters.",
            param=_CHUNKING,
        )
    if kind == "server_vad":
        return {"type": kind, **strategy}
    if set(strategy) - {"type"}:
        raise InvalidRequest(
            f"{_CHUNKING} is `auto`, which has no parameters. Omit them, or send `server_vad`.",
            param=_CHUNKING,
        )
    return None


def _read_chunking_text(text: str) -> Mapping[str, object]:
    if not text.startswith("{"):
        return {"type": text.strip('"')} if text else {}
    try:
        read = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"{_CHUNKING} is not valid JSON. Send an object such as "
            f'{{"type": "server_vad", "threshold": 0.5}}, or the fields {_CHUNKING}[type] and so on.',
            param=_CHUNKING,
        ) from error
    for name, value in read.items():
        if name != "type" and isinstance(value, bool | str):
            raise InvalidRequest(
                f"{_CHUNKING}[{name}] is {json.dumps(value)[:100]}. Send a number.", param=_CHUNKING
            )
    return dict(read)


def _read_metadata(text: str) -> dict[str, Any]:
    if len(text.encode(errors="replace")) > MAX_METADATA_BYTES:
        raise _refuse_metadata(f"has more than {MAX_METADATA_BYTES} bytes")
    try:
        # msgspec refuses what could not be returned with the same value: huge numbers, lone surrogates.
        read = msgspec.json.decode(text, type=dict[str, Any])
    except (ValueError, RecursionError) as error:
        raise _refuse_metadata(
            "is not a JSON object, or has a number or text that cannot be stored"
        ) from error
    if _measure_depth(read) > MAX_METADATA_DEPTH:
        raise _refuse_metadata(f"has more than {MAX_METADATA_DEPTH} levels")
    return read


def _measure_depth(value: object) -> int:
    match value:
        case dict():
            return 1 + max(map(_measure_depth, value.values()), default=0)
        case list():
            return 1 + max(map(_measure_depth, value), default=0)
        case _:
            return 0


def _refuse_metadata(fault: str) -> InvalidRequest:
    return InvalidRequest(
        f'metadata {fault}. Send a small JSON object such as {{"order": 17}}.', param="metadata"
    )
