"""Rows of many jobs share batches: clips at once, clips in a steady stream, and clips beside a long file."""

from pathlib import Path

from scripts.run_tests import find_qwen_python
from tests.bench import rows_at_once, rows_beside_file, rows_steady
from tests.bench.clip_calls import ClipCalls
from tests.bench.figures import Count, Findings, report_unmeasured
from tests.bench.qwen_process import MAX_WINDOWS, open_qwen_process
from tests.bench.server import serve
from tests.bench.settings import BenchSettings
from tests.bench.worker_log import WorkerLog
from tests.support.qwen_server import SETTINGS

TITLE = "Rows of many jobs in a batch"
NOTES = (
    "Clips are concurrent calls of `POST /v1/audio/transcriptions`, each on a connection of its own. The "
    "model is loaded. First, clips of 2 to 4 s in three languages are sent at once to the miniature of "
    f"Qwen3-ASR, with {MAX_WINDOWS} rows in a batch and one thread of the CPU. The counterparts are the "
    "`transcribe` of Qwen's package and the engine itself, on the same clips in a process beside the server. "
    "The time outside batches is what the log of the worker does not count as batches. Then clips arrive by "
    "a Poisson process with a fixed seed, for {steady_s:g} s at each share of the capacity: the clips per "
    f"second of the most clips at once, up to {rows_at_once.MAX_CAPACITY_CLIPS}. A wait counts from the "
    "arrival to the transcript. Above the capacity the queue grows, so waits depend on these seconds. Last, "
    f"a file of class batch runs on the scripted engine at {rows_beside_file.SPEED} s of audio per second, "
    f"{rows_beside_file.ROWS} windows of {rows_beside_file.WINDOW_S} s in a batch: alone, and with one clip "
    f"of {rows_beside_file.CLIP_S} s a second."
)
SERVER_SETTINGS = {**SETTINGS, "IDLE_TIMEOUT": "0", "BATCH_WINDOWS": str(MAX_WINDOWS)}


async def measure_rows(settings: BenchSettings, folder: Path) -> Findings:
    """Measure clips on the miniature, then clips beside a file on the scripted engine."""
    scale = settings.scale
    notes = NOTES.format(steady_s=scale.steady_s)
    python = find_qwen_python()
    if python is None:
        names = ("clips at once", "clips in a steady stream", "clip beside a file")
        return report_unmeasured(TITLE, notes, names, reason="there is no .venv-qwen")
    async with (
        serve(folder, python=python, **SERVER_SETTINGS) as server,
        open_qwen_process(python) as process,
    ):
        await server.start_worker()
        clips = await rows_at_once.read_clips(process)
        calls = ClipCalls(server.port)
        sides = rows_at_once.Sides(calls, WorkerLog(server), process, clips)
        at_once = await rows_at_once.measure_at_once(sides, scale)
        capacity = rows_at_once.find_capacity(at_once)
        streams = await rows_steady.measure_steady(sides, capacity, scale.steady_s)
    rounds = await rows_beside_file.measure_beside_file(folder.with_name("rows-file"), scale)

    figures, growths, shares = rows_at_once.describe_at_once(at_once)
    steady_figures, steady_growths = rows_steady.describe_steady(streams)
    file_figures, file_counts = rows_beside_file.describe_beside_file(rounds, scale.file_beside_clips_s)
    wrong = calls.wrong + sum(one.wrong for one in rounds)
    return Findings(
        TITLE,
        notes,
        [*figures, *steady_figures, *file_figures],
        [Count("wrong transcripts", wrong, 0), *file_counts],
        [*growths, *steady_growths],
        shares,
    )
