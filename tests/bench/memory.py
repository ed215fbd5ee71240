"""The memory of the server's processes."""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Self

import psutil

from tests.bench.server import BenchServer

LOOK_EVERY_S = 0.1
DECODERS = "fork servers and decoders"


class PeakMemory:
    """The highest PSS of each process of a server within an `async with` block, in MB.

    Pages that several processes share count in parts. Sandboxed decoders come and go: the highest sum of them
    and of their fork servers counts as one process.
    """

    def __init__(self, server: BenchServer) -> None:
        self._server = server
        self.peaks_mb: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        """Begin to look."""
        self._looking = asyncio.create_task(self._look_often())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Look once more, and stop."""
        self._looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._looking
        self._look()

    async def _look_often(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(LOOK_EVERY_S)

    def _look(self) -> None:
        parts = self._server.find_processes()
        for name, process in parts.items():
            self._note(name, [process])
        known = set(parts.values())
        children = [child for name in ("api", "worker") for child in _find_children(parts[name])]
        self._note(DECODERS, (child for child in children if child not in known))

    def _note(self, name: str, processes: Iterable[psutil.Process]) -> None:
        total_mb = 0.0
        for process in processes:
            with contextlib.suppress(psutil.Error):
                total_mb += process.memory_full_info().pss / 1e6
        self.peaks_mb[name] = max(total_mb, self.peaks_mb.get(name, 0.0))


def sum_pss_mb(root: psutil.Process) -> float:
    """Return the PSS of a process and all below it, in MB: shared pages count in parts."""
    total = 0.0
    for process in (root, *_find_children(root)):
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss / 1e6
    return total


def _find_children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return process.children(recursive=True)
    return []
