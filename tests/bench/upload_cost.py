"""The cost of one large upload: time, memory of the api, and bytes written."""

import asyncio
import shutil
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from tests.bench.figures import Comparison, Figure, Findings, Goal, Growth
from tests.bench.interleaving import order_runs
from tests.bench.job_watch import delete_job
from tests.bench.memory import PeakMemory
from tests.bench.sender import Sender, open_sender, write_silent_wav
from tests.bench.server import BenchServer, serve
from tests.bench.settings import BenchSettings

TIME_GOAL = Goal(3.0, Comparison.RATIO)
MEMORY_GOAL = Goal(80.0)
WRITTEN_GOAL = Goal(1.05, Comparison.RATIO)
NOTES = (
    "A WAV file of silence goes from a process of its own to `POST /v1/jobs`, and the time counts until the "
    "answer. The counterpart copies the same file in the same folder. Both leave the writing to the disk to "
    "the system, except that the server syncs its file before it answers. Memory is the highest PSS of the "
    "api. Bytes written are those that the api handed to the system."
)


@dataclass
class _Measured:
    """The values of one size, one per round."""

    here_s: list[float] = field(default_factory=list)
    copy_s: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    written_mb: list[float] = field(default_factory=list)


async def measure_upload(settings: BenchSettings, folder: Path) -> Findings:
    """Send files of each size, and copy them, in turns."""
    measured: dict[int, _Measured] = {}
    async with serve(folder) as server:
        await server.start_worker()
        for size_bytes in settings.scale.large_upload_bytes:
            path = folder / "large.wav"
            await asyncio.to_thread(write_silent_wav, path, size_bytes)
            found = measured[size_bytes] = _Measured()
            async with open_sender(server.port, path) as sender:
                runs = (partial(_send, server, sender, found), partial(asyncio.to_thread, _copy, path, found))
                for number in range(settings.scale.rounds):
                    for run in order_runs(runs, number):
                        await run()
    return Findings("Large uploads", NOTES, _describe(measured), growths=_describe_growth(measured))


async def _send(server: BenchServer, sender: Sender, found: _Measured) -> None:
    api = server.find_processes()["api"]
    before = _count_written(api)
    async with PeakMemory(server) as memory:
        sent = await sender.send(1)
    found.here_s.append(sent.took_s)
    found.memory_mb.append(memory.peaks_mb["api"])
    found.written_mb.append((_count_written(api) - before) / 1e6)
    for job_id in sent.job_ids:
        await delete_job(server, job_id)


def _copy(path: Path, found: _Measured) -> None:
    copy = path.with_suffix(".copy")
    began = time.perf_counter()
    shutil.copyfile(path, copy)
    found.copy_s.append(time.perf_counter() - began)
    copy.unlink()


def _count_written(process: psutil.Process) -> int:
    """Return the bytes that a process and its children handed to the system so far."""
    return sum(one.io_counters().write_chars for one in (process, *process.children(recursive=True)))


def _describe(measured: dict[int, _Measured]) -> list[Figure]:
    size_bytes = max(measured)
    found, size_mb = measured[size_bytes], size_bytes / 1e6
    name = f"upload of {size_mb:.0f} MB"
    sizes = [size_mb] * len(found.written_mb)
    return [
        Figure(name, "s", found.here_s, found.copy_s, "copy of the file", TIME_GOAL),
        Figure(f"{name}: highest memory of the api", "MB", found.memory_mb, goal=MEMORY_GOAL),
        Figure(f"{name}: bytes written", "MB", found.written_mb, sizes, "size of the file", WRITTEN_GOAL),
    ]


def _describe_growth(measured: dict[int, _Measured]) -> list[Growth]:
    times = {size / 1e6: found.here_s for size, found in measured.items()}
    copies = {size / 1e6: found.copy_s for size, found in measured.items()}
    memory = {size / 1e6: found.memory_mb for size, found in measured.items()}
    return [
        Growth("Time of an upload", "MB", "s", {"this server": times, "copy of the file": copies}),
        Growth("Memory of the api during an upload", "MB", "MB", {"this server": memory}),
    ]
