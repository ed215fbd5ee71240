"""The memory of `make run` without work, and the end of an idle model process."""

import asyncio
import contextlib
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, STDOUT

import psutil

from cli.up.descendants import is_alive
from scripts.purposes import REPOSITORY
from tests.bench.calls import SyncClient, encode_form
from tests.bench.engine_time import MODELS_FOLDER
from tests.bench.figures import Count, Figure, Findings, Goal
from tests.bench.memory import sum_pss_mb
from tests.bench.server import AS_INSTALLED
from tests.bench.settings import BenchSettings
from tests.bench.speech import read_speech
from tests.chaos.injection import find_model_processes
from tests.chaos.waiting import wait_until
from worker.engines.whisper.weights import find_weights

MEMORY_GOAL = Goal(260.0)
GONE_GOAL = Goal(4.0)
IDLE_TIMEOUT_S = 2
SETTLE_S = 2.0
START_WITHIN_S = 120.0
NOTES = (
    f"The server as `make run` starts it, with the CPU engine and IDLE_TIMEOUT={IDLE_TIMEOUT_S}. Memory is "
    f"the sum of the PSS of all its processes, with pages that several share counted in parts: {SETTLE_S:g} "
    "s after the start, and as long after a job's model process has ended."
)


@dataclass(frozen=True)
class _Rested:
    """The memory of one server in MB, and the time until its model process was gone."""

    before_mb: float
    after_mb: float
    gone_s: float
    models_left: int


async def measure_rest(settings: BenchSettings, folder: Path) -> Findings:
    """Start a server, let it rest, run a job, and let it rest again; several times."""
    model = find_weights("", folder.parent / MODELS_FOLDER)
    clip = read_speech(settings.speech_dir).cut_clip(3)
    rested = [
        await _rest(folder.with_name(f"rest{number}"), model, clip)
        for number in range(settings.scale.few_rounds)
    ]
    figures = [
        Figure("memory before the first job", "MB", [one.before_mb for one in rested], goal=MEMORY_GOAL),
        Figure("memory after an idle unload", "MB", [one.after_mb for one in rested], goal=MEMORY_GOAL),
        Figure("model process gone after its last job", "s", [one.gone_s for one in rested], goal=GONE_GOAL),
    ]
    left = Count("model processes left after an idle unload", sum(one.models_left for one in rested), 0)
    return Findings("Memory at rest", NOTES, figures, [left])


async def _rest(folder: Path, model: Path, clip: bytes) -> _Rested:
    async with _make_run(folder, model) as (supervisor, port):
        await asyncio.sleep(SETTLE_S)
        before_mb = sum_pss_mb(supervisor)
        client = SyncClient(port)
        await asyncio.to_thread(client.transcribe, encode_form(clip, {}))
        client.close()
        ended_s = time.monotonic()
        models = find_model_processes(supervisor.pid)
        await wait_until(lambda: not any(map(is_alive, models)), every_s=0.01, within_s=START_WITHIN_S)
        gone_s = time.monotonic() - ended_s
        await asyncio.sleep(SETTLE_S)
        return _Rested(before_mb, sum_pss_mb(supervisor), gone_s, len(find_model_processes(supervisor.pid)))


@asynccontextmanager
async def _make_run(folder: Path, model: Path) -> AsyncIterator[tuple[psutil.Process, int]]:
    """Start the local server, and yield its first process and its port; all ends with the block."""
    here = {"ENGINE": "whisper", "WHISPER_MODEL": str(model), "DATA_DIR": str(folder), "PORT": "0"}
    environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "up", "--no-setup"),
        cwd=REPOSITORY,
        env={**environment, **here, **AS_INSTALLED, "IDLE_TIMEOUT": str(IDLE_TIMEOUT_S)},
        stdout=PIPE,
        stderr=STDOUT,
    )
    reading: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(START_WITHIN_S):
            port = await _read_port(process)
        reading = asyncio.create_task(_drop_output(process))
        yield psutil.Process(process.pid), port
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await (_drop_output(process) if reading is None else reading)
        await process.wait()


async def _read_port(process: asyncio.subprocess.Process) -> int:
    """Return the port that the server prints when it is ready."""
    output = ""
    while process.stdout is not None:
        line = (await process.stdout.readline()).decode()
        output += line
        if found := re.search(r"Ready after .*http://[\d.]+:(\d+)", output, re.DOTALL):
            return int(found[1])
        if not line:
            break
    raise RuntimeError(f"the server did not start:\n{output}")


async def _drop_output(process: asyncio.subprocess.Process) -> None:
    while process.stdout is not None and await process.stdout.read(1 << 16):
        pass
