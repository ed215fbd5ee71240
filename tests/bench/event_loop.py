"""The api's answers to other requests while it works: `GET /health` during a transcription and uploads."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.calls import SyncClient
from tests.bench.engine_time import MODELS_FOLDER
from tests.bench.figures import Figure, Findings, Goal, Growth, find_percentile
from tests.bench.interleaving import order_runs
from tests.bench.job_watch import delete_job, submit, wait_for_state
from tests.bench.sender import Sender, open_sender, write_silent_wav
from tests.bench.server import BenchServer, serve
from tests.bench.settings import BenchSettings
from tests.bench.speech import read_speech
from worker.engines.whisper.weights import find_weights

GOAL = Goal(20.0)
PAUSE_S = 0.005
NOTES = (
    "One client requests `GET /health` on a kept connection, with a pause of 5 ms. Its times are those of "
    "other clients while the api works. The counterpart is the same server without work. Transcribing is a "
    "long file on the CPU engine, on all cores. Uploads are WAV files of {mb:.0f} MB to `POST /v1/jobs` from "
    "one process, again and again; their jobs are then deleted."
)


@dataclass
class _Prober:
    """The client that requests /health."""

    port: int
    loop_s: float

    async def probe(self) -> float:
        """Return the 99th percentile of the times, in ms."""
        return await asyncio.to_thread(self._probe)

    def _probe(self) -> float:
        client = SyncClient(self.port)
        times, end = [], time.monotonic() + self.loop_s
        try:
            while time.monotonic() < end:
                times.append(client.get_health().took_ms)
                time.sleep(PAUSE_S)
        finally:
            client.close()
        return find_percentile(times, 0.99)


async def measure_loop(settings: BenchSettings, folder: Path) -> Findings:
    """Probe the idle server, the transcribing one, and one that takes in uploads, in turns."""
    scale = settings.scale
    model = find_weights("", folder.parent / MODELS_FOLDER)
    long_file = read_speech(settings.speech_dir).join_file(600).file
    upload = folder.with_name("upload.wav")
    write_silent_wav(upload, scale.upload_bytes)
    idle: list[float] = []
    transcribing: list[float] = []
    uploading: dict[float, list[float]] = {float(count): [] for count in scale.uploads}
    async with (
        serve(folder, ENGINE="whisper", WHISPER_MODEL=str(model)) as server,
        open_sender(server.port, upload) as sender,
    ):
        await server.start_worker()
        prober = _Prober(server.port, scale.loop_s)
        work: list[tuple[list[float], Callable[[], AbstractAsyncContextManager[None]]]] = [
            (idle, nullcontext),
            (transcribing, partial(_transcribe, server, long_file)),
            *((values, partial(_upload, server, sender, int(count))) for count, values in uploading.items()),
        ]
        for number in range(scale.few_rounds):
            for values, begin in order_runs(work, number):
                async with begin():
                    values.append(await prober.probe())
    name, most = "GET /health, p99,", max(scale.uploads)
    figures = [
        Figure(f"{name} while transcribing", "ms", transcribing, idle, "idle", GOAL),
        Figure(f"{name} during {most} uploads", "ms", uploading[most], idle, "idle", GOAL),
    ]
    growth = Growth("GET /health during uploads, p99", "upload", "ms", {"this server": uploading})
    notes = NOTES.format(mb=scale.upload_bytes / 1e6)
    return Findings("Other requests during work", notes, figures, growths=[growth])


@asynccontextmanager
async def _transcribe(server: BenchServer, file: bytes) -> AsyncIterator[None]:
    """Transcribe a long file within the block."""
    job_id = await submit(server, file)
    await wait_for_state(server, job_id, "running")
    try:
        yield
    finally:
        await delete_job(server, job_id)


@asynccontextmanager
async def _upload(server: BenchServer, sender: Sender, count: int) -> AsyncIterator[None]:
    """Send files again and again within the block."""
    is_over = asyncio.Event()
    sending = asyncio.create_task(_send_until(is_over, server, sender, count))
    try:
        yield
    finally:
        is_over.set()
        await sending


async def _send_until(is_over: asyncio.Event, server: BenchServer, sender: Sender, count: int) -> None:
    while not is_over.is_set():
        for job_id in (await sender.send(count)).job_ids:
            await delete_job(server, job_id)
