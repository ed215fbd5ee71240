"""The Qwen engine at true size, with random weights: loading, first token, rate, memory, callback."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from statistics import median

import msgspec

from scripts.purposes import REPOSITORY
from scripts.run_tests import find_qwen_python
from tests.bench.figures import Figure, Findings, Goal, Growth, Shares, report_unmeasured
from tests.bench.line_process import open_line_process
from tests.bench.settings import BenchSettings
from tests.bench.true_size_build import ALIGNER_FOLDER, ASR_FOLDER
from tests.bench.true_size_process import MODULE, TOKENS, Batch, Generated, Loaded

CHECKPOINTS = REPOSITORY / "build" / "true-size"
BUILD_MODULE = "tests.bench.true_size_build"
CALLBACK_GOAL = Goal(1.0)
FIRST_TOKEN_S = 30.0
WINDOW_S = 10.0
TITLE = "The Qwen engine at true size"
NOTES = (
    "Checkpoints of the published dimensions with random weights, 782 million parameters for recognition, "
    f"in the number format that the engine chooses. A generation is cut after {TOKENS} tokens. First token "
    "counts from the prompt, with encoder and prefill. The callback is the engine's work between two steps. "
    "Memory of a row is the growth of the peak beyond the loaded model, divided by the rows. Random weights "
    "say nothing about recognition."
)


async def measure_size(settings: BenchSettings, folder: Path) -> Findings:
    """Build the checkpoints if they are missing, load one, and decode batches."""
    python = find_qwen_python()
    if python is None:
        return report_unmeasured(TITLE, NOTES, ["load", "first token"], reason="there is no .venv-qwen")
    await _build(python)
    arguments = (str(CHECKPOINTS / ASR_FOLDER), str(CHECKPOINTS / ALIGNER_FOLDER), settings.device)
    generated: dict[int, Generated] = {}
    async with open_line_process(python, MODULE, *arguments, environment=dict(os.environ)) as process:
        loaded = msgspec.json.decode(await process.ask(b""), type=Loaded)
        first = await _generate(process.ask, Batch(1, FIRST_TOKEN_S))
        for rows in settings.size_rows:
            generated[rows] = await _generate(process.ask, Batch(rows, WINDOW_S))
    figures = [*_describe_load(loaded), *_describe_first(first, loaded)]
    for rows, found in generated.items():
        figures += _describe_batch(rows, found, loaded)
    shares = [Shares("Loading at true size", "s", loaded.phases_s)]
    return Findings(TITLE, NOTES, figures, growths=_describe_growth(generated, loaded), shares=shares)


async def _build(python: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(str(python), "-m", BUILD_MODULE, str(CHECKPOINTS)), cwd=REPOSITORY
    )
    if await process.wait():
        raise RuntimeError("the checkpoints of true size were not built; the error is above")


async def _generate(ask: Callable[[bytes], Awaitable[bytes]], batch: Batch) -> Generated:
    return msgspec.json.decode(await ask(msgspec.json.encode(batch)), type=Generated)


def _describe_load(loaded: Loaded) -> list[Figure]:
    return [
        Figure("load", "s", [sum(loaded.phases_s.values())]),
        *(Figure(f"load: {phase}", "s", [took_s]) for phase, took_s in loaded.phases_s.items()),
        Figure("memory after the load", "MiB", [loaded.resident_mib]),
        Figure("highest memory during the load", "MiB", [loaded.peak_mib]),
    ]


def _describe_first(first: Generated, loaded: Loaded) -> list[Figure]:
    name = f"window of {FIRST_TOKEN_S:g} s"
    return [
        Figure(f"{name}: first token", "s", [first.first_token_s]),
        Figure(f"{name}: memory", "MiB", [first.peak_mib - loaded.resident_mib]),
    ]


def _describe_batch(rows: int, found: Generated, loaded: Loaded) -> list[Figure]:
    name = f"{rows} rows of {WINDOW_S:g} s"
    callbacks_ms = [taken_s * 1000 for taken_s in found.callbacks_s]
    return [
        Figure(f"{name}: first token", "s", [found.first_token_s]),
        Figure(f"{name}: tokens per second", "1/s", [rows / taken_s for taken_s in found.steps_s]),
        Figure(f"{name}: memory of a row", "MiB", [_find_memory(rows, found, loaded)]),
        Figure(f"{name}: callback of a step", "ms", callbacks_ms, goal=CALLBACK_GOAL),
    ]


def _describe_growth(generated: Mapping[int, Generated], loaded: Loaded) -> list[Growth]:
    first = {float(rows): [found.first_token_s] for rows, found in generated.items()}
    rates = {float(rows): [rows / median(found.steps_s)] for rows, found in generated.items()}
    memory = {float(rows): [_find_memory(rows, found, loaded)] for rows, found in generated.items()}
    callbacks = {float(rows): [median(found.callbacks_s) * 1000] for rows, found in generated.items()}
    return [
        Growth("First token", "row", "s", {"this server": first}),
        Growth("Tokens per second", "row", "1/s", {"this server": rates}),
        Growth("Memory of a row", "row", "MiB", {"this server": memory}),
        Growth("Callback of a step", "row", "ms", {"this server": callbacks}),
    ]


def _find_memory(rows: int, found: Generated, loaded: Loaded) -> float:
    return (found.peak_mib - loaded.resident_mib) / rows
