"""The first job on a cold worker, phase by phase, beside a bare process that imports and loads the same."""

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE

from cli.up.descendants import is_alive
from scripts.purposes import REPOSITORY
from scripts.run_tests import find_qwen_python
from shared.events import AnyEvent, Loading, Partial, SegmentDone, Started
from tests.bench.figures import (
    Comparison,
    Figure,
    Findings,
    Goal,
    Shares,
    find_spread,
    report_unmeasured,
)
from tests.bench.interleaving import order_runs
from tests.bench.job_watch import Seen, read_events, submit, wait_for_event, wait_for_state
from tests.bench.server import BenchServer, serve
from tests.bench.settings import BenchSettings
from tests.chaos.waiting import wait_until
from tests.support.qwen_server import SETTINGS
from tests.support.tiny_qwen3 import read_file

IDLE_TIMEOUT_S = "0.2"
LOADED = "loaded"
LOAD_GOAL = Goal(1.05, Comparison.RATIO)
IMPORT_GOAL = Goal(0.6, Comparison.RATIO)
TITLE = "Cold start"
NOTES = (
    "The miniature of Qwen3-ASR, on the CPU. Its model process has ended when a job comes. Phases are read "
    "from the job's events: the process starts, imports its libraries, loads the weights, and decodes up to "
    "the first text. The counterpart of the load is a bare process that imports the same modules and loads "
    "the same weights. The counterpart of the imports is a plain `import qwen_asr`."
)
BARE_LOAD = (
    "from worker.settings import WorkerSettings; from worker.engines.registry import create_engine; from "
    "worker.audio.vad import SileroVad; create_engine(WorkerSettings()).load(lambda phase: None); "
    "SileroVad(); print(1, flush=True)"
)
PLAIN_IMPORT = (
    "import time; began = time.perf_counter(); import qwen_asr; print(time.perf_counter() - began, "
    "flush=True)"
)
FIGURES = ("cold start to the loaded model", "imports", "first text after the loaded model")


@dataclass(frozen=True)
class Cold:
    """The seconds of each phase of one cold job."""

    process_s: float
    imports_s: float
    weights_s: float
    first_text_s: float

    @property
    def loaded_s(self) -> float:
        """The seconds from the claim to the loaded model."""
        return self.process_s + self.imports_s + self.weights_s


async def measure_cold(settings: BenchSettings, folder: Path) -> Findings:
    """Run cold jobs, bare loads and plain imports in turns."""
    python = find_qwen_python()
    if python is None:
        return report_unmeasured(TITLE, NOTES, FIGURES, reason="there is no .venv-qwen")
    cold: list[Cold] = []
    bare_s: list[float] = []
    plain_s: list[float] = []
    async with serve(folder, python=python, **SETTINGS, IDLE_TIMEOUT=IDLE_TIMEOUT_S) as server:
        await server.start_worker()
        clip = read_file("en_digits3")
        await run_cold_job(server, clip)  # fills the disk cache

        async def run_cold() -> None:
            await wait_for_unload(server)
            cold.append(await run_cold_job(server, clip))

        async def run_bare() -> None:
            bare_s.append((await _run_python(python, BARE_LOAD))[0])

        async def run_import() -> None:
            plain_s.append(float((await _run_python(python, PLAIN_IMPORT))[1]))

        for number in range(settings.scale.few_rounds):
            for run in order_runs((run_cold, run_bare, run_import), number):
                await run()
    loaded = [one.loaded_s for one in cold]
    imports = [one.imports_s for one in cold]
    figures = [
        Figure(FIGURES[0], "s", loaded, bare_s, "bare process", LOAD_GOAL),
        Figure(FIGURES[1], "s", imports, plain_s, "import qwen_asr", IMPORT_GOAL),
        Figure(FIGURES[2], "s", [one.first_text_s for one in cold]),
    ]
    return Findings(TITLE, NOTES, figures, shares=[share_out_phases(cold)])


def share_out_phases(cold: Sequence[Cold]) -> Shares:
    """Return the medians of the phases."""
    phases = {
        "process": [one.process_s for one in cold],
        "imports": [one.imports_s for one in cold],
        "weights": [one.weights_s for one in cold],
        "first text": [one.first_text_s for one in cold],
    }
    medians = {name: find_spread(values).median for name, values in phases.items()}
    return Shares("Phases of a cold start", "s", medians)


async def run_cold_job(server: BenchServer, clip: bytes) -> Cold:
    """Run one job on a worker without a model process, and return its phases."""
    job_id = await submit(server, clip)
    first_text = await wait_for_event(server, job_id, _has_text)
    await wait_for_state(server, job_id, "succeeded")
    return read_phases(await read_events(server, job_id), first_text_s=first_text.at_s)


async def wait_for_unload(server: BenchServer) -> None:
    """Wait for the end of the model process, after its idle timeout."""
    models = server.find_model_processes()
    await wait_until(lambda: not any(map(is_alive, models)))


def _has_text(event: AnyEvent) -> bool:
    return isinstance(event, Partial | SegmentDone)


def read_phases(events: Sequence[Seen], *, first_text_s: float) -> Cold:
    """Return the phases of a cold job. Its events count from the start of the process's own code."""
    started_s = next(seen.at_s for seen in events if isinstance(seen.event, Started))
    begun_s = {seen.event.phase: seen.event.elapsed_s for seen in events if isinstance(seen.event, Loading)}
    loaded_s = next(
        seen.at_s for seen in events if isinstance(seen.event, Loading) and seen.event.phase == LOADED
    )
    imports_s, load_s = begun_s["finding weights"], begun_s[LOADED]
    return Cold(loaded_s - started_s - load_s, imports_s, load_s - imports_s, first_text_s - loaded_s)


async def _run_python(python: Path, code: str) -> tuple[float, str]:
    """Return the seconds until `code` prints a line, and that line."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(str(python), "-P", "-c", code),
        cwd=REPOSITORY,
        env={**os.environ, **SETTINGS},
        stdout=PIPE,
        stderr=DEVNULL,  # libraries greet there
    )
    output, _ = await asyncio.gather(_read_line(process, began), process.wait())
    if process.returncode:
        raise RuntimeError(f"`{code}` ended with code {process.returncode}")
    return output


async def _read_line(process: asyncio.subprocess.Process, began: float) -> tuple[float, str]:
    if process.stdout is None:
        raise RuntimeError("the process has no output")
    line = await process.stdout.readline()
    return time.perf_counter() - began, line.decode()
