"""The names of multipart fields: which of them make a list, and which a field in another."""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

_BRACKETS = re.compile(r"(\w+)\[(\w*)\]")


class FieldReader:
    """Reads text fields by name; spaces around a value do not count, and an empty value means absent."""

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
        """The last value of a field that is to have one; empty where it is absent."""
        return self._plain.get(name, [""])[-1]

    def read_nested(self, name: str) -> dict[str, str]:
        """The fields `name[key]`, each by its key with its last value."""
        return {key: values[-1] for key, values in self._nested[name].items() if key and values[-1]}

    def read_list(self, name: str) -> list[str]:
        """All values of `name[]`, and of `name`, where one value may also be a comma list or a JSON list.

        `name[0]`, `name[1]` count as well.
        """
        found = [value for values in self._nested[name].values() for value in values]
        for text in self._plain.get(name, ()):
            found += _split(text)
        return [value for value in found if value]

    def read_known(self, names: Collection[str], lists: Collection[str]) -> dict[str, object]:
        """Those of the fields `names` that are not absent; `lists` are the ones with many values."""
        values = {name: self.read_list(name) if name in lists else self.read_text(name) for name in names}
        return {name: value for name, value in values.items() if value}


def _split(text: str) -> list[str]:
    if text.startswith("["):
        try:
            return [str(value).strip() for value in json.loads(text)]
        except (ValueError, RecursionError):
            return [text]
    return [value.strip() for value in text.split(",")]
