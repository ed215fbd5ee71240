"""The stages of a call, from the scripts that Redis runs meanwhile.

Redis's MONITOR prints each command with the microsecond of its arrival, so the server runs unchanged.
"""

import re
import socket
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

from tests.bench.calls import Call

SCRIPTS = ("check_admission", "submit", "claim", "emit", "finish_window", "finish")
REPORTS = ("emit", "finish_window")

STAGES = (
    "HTTP: from the client's first byte to the api's first command to Redis",
    "upload: reading the form, writing and syncing the file, the child that examines and decodes it",
    "queue: from the submit to the worker's claim, by a message",
    "decoding: from the claim to the first report: stored samples, model process, engine",
    "reports: from the first report to the final transition",
    "answer: from the final transition to the last byte at the client",
)

_BLOCK_BYTES = 1 << 16
_LINE = re.compile(rb'\+(\d+\.\d+) \[\d+ [^\]]*\] "EVALSHA" "\w{40}" "1" "[^"]*" "(\w+)"', re.IGNORECASE)


@dataclass(frozen=True)
class Command:
    """A call of a script; `at_s` as in `time.time`."""

    at_s: float
    script: str


class CommandTrace:
    """A record of all commands within a `with` block."""

    def __init__(self, redis_socket: Path) -> None:
        self._path = redis_socket
        self._blocks: list[bytes] = []

    def __enter__(self) -> Self:
        """Start to listen."""
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(str(self._path))
        self._connection.sendall(b"MONITOR\r\n")
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()

    def read_commands(self) -> list[Command]:
        """Return the calls of SCRIPTS, in order."""
        return parse_commands(b"".join(self._blocks))

    def _listen(self) -> None:
        while block := self._connection.recv(_BLOCK_BYTES):
            self._blocks.append(block)


def parse_commands(output: bytes) -> list[Command]:
    """Return the calls of SCRIPTS in the output of MONITOR."""
    found = ((float(one[1]), one[2].decode()) for one in _LINE.finditer(output))
    return [Command(at_s, name) for at_s, name in found if name in SCRIPTS]


def share_out(calls: Iterable[Call], commands: Sequence[Command]) -> Mapping[str, Sequence[float]]:
    """Return the time of each stage of each call, in ms, without calls that lack a command."""
    stages: dict[str, list[float]] = {name: [] for name in STAGES}
    for call in calls:
        marks = _find_marks([one for one in commands if call.began_s <= one.at_s <= call.ended_s])
        if marks is None:
            continue
        for name, (begun, ended) in zip(STAGES, pairwise((call.began_s, *marks, call.ended_s)), strict=True):
            stages[name].append((ended - begun) * 1000)
    return stages


def _find_marks(commands: Sequence[Command]) -> tuple[float, ...] | None:
    """Return the times of admission, submit, claim, first report and final transition."""
    marks: list[float] = []
    for wanted in (("check_admission",), ("submit",), ("claim",), REPORTS, ("finish",)):
        after_s = marks[-1] if marks else 0.0
        found = (one.at_s for one in commands if one.script in wanted and one.at_s >= after_s)
        first = next(found, None)
        if first is None:
            return None
        marks.append(first)
    return tuple(marks)
