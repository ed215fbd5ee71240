"""The log of a measured server's worker: its batches, and jobs that went back to the queue."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.bench.server import BenchServer
from tests.chaos.waiting import wait_until

LOGGED_WITHIN_S = 10.0

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Batch:
    """The rows of a batch, and the seconds that the model process took for them."""

    rows: int
    took_s: float


class WorkerLog:
    """The lines that the worker has logged since the last `skip`."""

    def __init__(self, server: BenchServer) -> None:
        self._path = server.folder / "logs" / "worker.log"
        self._skipped = 0

    def skip(self) -> None:
        """Leave out all lines so far."""
        self._skipped += len(self._read_lines())

    async def read_batches(self, *, rows: int) -> Sequence[Batch]:
        """Return the batches as soon as they have `rows` rows: the last one is logged after its jobs end.

        Raises:
            RuntimeError: they have fewer rows.
        """
        await wait_until(lambda: self._count_rows() >= rows, within_s=LOGGED_WITHIN_S)
        if (logged := self._count_rows()) < rows:
            raise RuntimeError(f"{rows} rows were decoded, but the batches in the log have {logged}")
        return find_batches(self._read_lines())

    def count(self, event: str, **fields: str) -> int:
        """Return the number of lines of this event with these fields."""
        wanted = {"event": event, **fields}.items()
        return sum(wanted <= parse_line(line).items() for line in self._read_lines())

    def _count_rows(self) -> int:
        return sum(batch.rows for batch in find_batches(self._read_lines()))

    def _read_lines(self) -> list[str]:
        return self._path.read_text().splitlines()[self._skipped :]


def find_batches(lines: Iterable[str]) -> list[Batch]:
    """Return the batches that these lines report."""
    found = [parse_line(line) for line in lines if "event=batch_decoded" in line]
    return [Batch(int(one["rows"].partition("/")[0]), float(one["took_s"])) for one in found]


def parse_line(line: str) -> Fields:
    """Return the fields of a line; those of a line in another format are empty."""
    try:
        return dict(field.split("=", 1) for field in shlex.split(line) if "=" in field)
    except ValueError:  # a quotation that does not end
        return {}
