"""Traces of what is written to the job record, by Redis's MONITOR, and the tables of its schema."""

import re
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Self

from shared.record.keys import KEY_PREFIX

_LINE = re.compile(r"^\+[\d.]+ \[\d+ ([^\]]*)\] (.*)$")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')
_PLACEHOLDER = re.compile(r"[A-Z]{2,}")

# Redis types by the commands that write them; with the position of the first field and the step to the next.
_WRITES = {
    "HSET": ("hash", 2, 2),
    "HSETNX": ("hash", 2, 9),
    "HINCRBY": ("hash", 2, 9),
    "ZADD": ("zset", 0, 0),
    "SADD": ("set", 0, 0),
    "RPUSH": ("list", 0, 0),
    "XADD": ("stream", 0, 0),
    "SET": ("string", 0, 0),
    "INCR": ("string", 0, 0),
    "PUBLISH": ("channel", 0, 0),
    "PEXPIRE": ("", 0, 0),
}


@dataclass
class Traced:
    """A key that was written: its types, the script's commands that wrote it, and its fields with theirs."""

    types: set[str] = field(default_factory=set)
    writers: set[str] = field(default_factory=set)
    fields: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    has_ttl: bool = False


class RecordTrace:
    """Traces the commands within a `with` block."""

    def __init__(self, redis_url: str) -> None:
        self._path = Path(redis_url.removeprefix("unix://").partition("?")[0])
        self._blocks: list[bytes] = []

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(str(self._path))
        self._connection.sendall(b"MONITOR\r\n")
        self._blocks.append(self._connection.recv(1 << 16))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()

    def read_keys(self) -> dict[str, Traced]:
        """Return all keys that were written, without their prefix."""
        keys: defaultdict[str, Traced] = defaultdict(Traced)
        for writer, command, *args in self._read_commands():
            if command not in _WRITES or not args[0].startswith(KEY_PREFIX):
                continue
            kind, first, step = _WRITES[command]
            traced = keys[args[0].removeprefix(KEY_PREFIX)]
            traced.has_ttl |= command == "PEXPIRE" or "PX" in args
            if kind:
                traced.types.add(kind)
                traced.writers.add(writer)
            for name in args[first - 1 :: step] if first else ():
                traced.fields[name].add(writer)
        return dict(keys)

    def _read_commands(self) -> Iterator[list[str]]:
        """Yield each command, after the command of the script that called it (empty where it was plain)."""
        running = ""
        for line in b"".join(self._blocks).decode("latin-1").split("\r\n"):
            if not (found := _LINE.match(line)):
                continue
            words = [word.replace('\\"', '"') for word in _WORD.findall(found[2])]
            name = words[0].upper()
            if name == "EVALSHA" and words[3] == KEY_PREFIX:
                running = words[4]
            yield [running if found[1] == "lua" else "", name, *words[1:]]

    def _listen(self) -> None:
        while block := self._connection.recv(1 << 20):
            self._blocks.append(block)


@dataclass(frozen=True)
class Described:
    """A row of a table: a kind of key or field, its type, its writers, and whether a key has a TTL."""

    name: str
    type: str
    writers: frozenset[str]
    has_ttl: bool = False

    def matches(self, name: str) -> bool:
        """Return whether a key or field is of this kind."""
        parts = (re.escape(part) for part in _PLACEHOLDER.split(self.name))
        return re.fullmatch(".*".join(parts), name, re.DOTALL) is not None


class Schema:
    """The tables of schema.md."""

    def __init__(self) -> None:
        text = (files("shared.record") / "schema.md").read_text()
        groups = {cells[0]: _find_names(cells[1]) for cells in _read_table(text, "Group")}
        self.keys: list[Described] = []
        self.fields: defaultdict[str, list[Described]] = defaultdict(list)

        def expand(writers: str) -> frozenset[str]:
            words = re.sub(r"`[^`]*`", "", writers).split()
            return _find_names(writers).union(*(groups[word] for word in words if word in groups))

        for name, kind, _, writers, _ in _read_table(text, "Field", "Type"):
            self.fields["job:ID"].append(Described(name.strip("`"), kind, expand(writers)))
        for key, name, kind, _, writers, _ in _read_table(text, "Key", "Field"):
            self.fields[key.strip("`")].append(Described(name.strip("`"), kind, expand(writers)))

        for name, kind, ttl, writers, _ in _read_table(text, "Key", "Type"):
            row = Described(name.strip("`"), kind, expand(writers), ttl != "none")
            # "see its fields"
            in_fields = [field.writers for field in self.fields[row.name]] if not row.writers else []
            self.keys.append(replace(row, writers=row.writers.union(*in_fields)))

    def find(self, rows: list[Described], name: str) -> Described | None:
        """Return the row for a key or field, the one with the fewest placeholders first."""
        found = [row for row in rows if row.matches(name)]
        return min(found, key=lambda row: len(_PLACEHOLDER.findall(row.name)), default=None)


def _find_names(cell: str) -> frozenset[str]:
    return frozenset(re.findall(r"`([^`]+)`", cell))


def _read_table(text: str, *head: str) -> list[list[str]]:
    """Return the cells of the table whose header begins with these words."""
    lines = text.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(f"| {' | '.join(head)} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows
