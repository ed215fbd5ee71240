"""The Qwen engine on the miniature, beside Qwen's own package."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.run_tests import find_qwen_python
from tests.bench.calls import SyncClient, encode_form
from tests.bench.figures import (
    Bound,
    Comparison,
    Count,
    Figure,
    Findings,
    Goal,
    Growth,
    report_unmeasured,
)
from tests.bench.interleaving import interleave
from tests.bench.long_files import Streamed, stream_file
from tests.bench.qwen_process import QwenCall, QwenProcess, Side, open_qwen_process
from tests.bench.server import BenchServer, serve
from tests.bench.settings import BenchSettings
from tests.support.audio import write_floats
from tests.support.qwen_server import SETTINGS
from tests.support.tiny_qwen3 import SAMPLES, read_file

CLIPS: Mapping[str, str] = {"3 digits": "en_digits3", "6 digits": "en_digits6", "one sentence": "en_fox"}
# Samples of at most 8 s, a block of the encoder: the miniature was trained on shorter windows.
SEARCHED: Mapping[str, str] = {"6 digits": "en_digits6", "5 digits": "de_digits5"}  # they have pauses
BATCH = ("en_fox", "en_digits3", "en_hello", "en_digits6")
LANGUAGES = (None, "en")
CALL_GOAL = Goal(1.15, Comparison.RATIO)
BATCH_GOAL = Goal(1.3, Comparison.SPEED_UP, Bound.AT_LEAST)
SEARCH_GOAL = Goal(1.1, Comparison.RATIO)
FIRST_TEXT_GOAL = Goal(0.15)
PACKAGE = "qwen_asr"
CALLS_PER_ROUND = 3  # a call takes a tenth of a second
TITLE = "The Qwen engine"
NOTES = (
    "The miniature of Qwen3-ASR on one thread of the CPU. Clips go to `POST /v1/audio/transcriptions` with "
    "the model loaded; the counterpart is the `transcribe` of Qwen's package on the speech in them. Batches "
    "of windows and the search for language changes, in windows with pauses, are calls of the engine "
    "without a server. A minute of sentences is streamed."
)


@dataclass(frozen=True)
class _Sides:
    """The server with the engine, and the process with the engine and the package."""

    server: BenchServer
    process: QwenProcess
    wrong: list[str]

    def call_server(self, name: str, language: str | None) -> Callable[[], Awaitable[float]]:
        """Return a run that returns the seconds of a synchronous call."""
        form = encode_form(read_file(name), {"language": language} if language else {})

        async def run() -> float:
            return await asyncio.to_thread(self._transcribe, form)

        return run

    def call(
        self, side: Side, names: Sequence[str], language: str | None = None
    ) -> Callable[[], Awaitable[float]]:
        """Return a run that returns the seconds of a call of one side."""
        call = QwenCall(side, tuple(names), language)

        async def run() -> float:
            answer = await self.process.transcribe(call)
            expected = [SAMPLES[name].text for name in names]
            self.wrong.extend(
                text for text, right in zip(answer.texts, expected, strict=True) if text != right
            )
            return answer.took_s

        return run

    def _transcribe(self, form: bytes) -> float:
        client = SyncClient(self.server.port)
        try:
            return client.transcribe(form).took_ms / 1000
        finally:
            client.close()


async def measure_qwen(settings: BenchSettings, folder: Path) -> Findings:
    """Time clips, batches, the search for language changes, and the first text of a minute."""
    python = find_qwen_python()
    if python is None:
        names = (*CLIPS, "windows of one file", "first text of a minute")
        return report_unmeasured(TITLE, NOTES, names, reason="there is no .venv-qwen")
    async with (
        serve(folder, python=python, **SETTINGS | {"IDLE_TIMEOUT": "0"}) as server,
        open_qwen_process(python) as process,
    ):
        await server.start_worker()
        sides = _Sides(server, process, [])
        figures = [await _compare_clip(sides, settings, clip, code) for clip in CLIPS for code in LANGUAGES]
        figures += [await _compare_search(sides, settings, clip) for clip in SEARCHED]
        batch, growth = await _compare_batches(sides, settings)
        streamed = [await _stream_minute(server, folder) for _ in range(settings.scale.few_rounds)]
    share = [one.first_text_s / one.total_s for one in streamed]
    figures += [batch, Figure("first text of a minute, share of the time", "", share, goal=FIRST_TEXT_GOAL)]
    counts = [Count("texts that differ from the samples'", len(sides.wrong), 0)]
    return Findings(TITLE, NOTES, figures, counts, [growth])


async def _compare_clip(sides: _Sides, settings: BenchSettings, clip: str, code: str | None) -> Figure:
    name = CLIPS[clip]
    runs = {"here": sides.call_server(name, code), "package": sides.call(Side.PACKAGE, [name], code)}
    taken = await _interleave_warm(CALLS_PER_ROUND * settings.scale.rounds, runs)
    label = f"{clip}, language given" if code else clip
    return Figure(f"synchronous call, {label}", "s", taken["here"], taken["package"], PACKAGE, CALL_GOAL)


async def _compare_search(sides: _Sides, settings: BenchSettings, clip: str) -> Figure:
    runs = {side.value: sides.call(side, [SEARCHED[clip]]) for side in (Side.ENGINE, Side.WITHOUT_SEARCH)}
    taken = await _interleave_warm(CALLS_PER_ROUND * settings.scale.rounds, runs)
    name = f"search for language changes, {clip}"
    return Figure(name, "s", taken[Side.ENGINE], taken[Side.WITHOUT_SEARCH], "without", SEARCH_GOAL)


async def _compare_batches(sides: _Sides, settings: BenchSettings) -> tuple[Figure, Growth]:
    """Return the figure of a whole batch, and the times of smaller ones."""
    lines: dict[str, dict[float, Sequence[float]]] = {"this server": {}, PACKAGE: {}}
    taken: Mapping[str, Sequence[float]] = {}
    for count in settings.scale.windows:
        names = (BATCH * count)[:count]
        runs = {"this server": sides.call(Side.ENGINE, names), PACKAGE: sides.call(Side.PACKAGE, names)}
        taken = await _interleave_warm(settings.scale.rounds, runs)
        for name, values in taken.items():
            lines[name][float(count)] = values
    label = f"{max(settings.scale.windows)} windows of one file"
    figure = Figure(label, "s", taken["this server"], taken[PACKAGE], PACKAGE, BATCH_GOAL)
    return figure, Growth("Windows in one call", "window", "s", lines)


async def _interleave_warm(
    rounds: int, runs: Mapping[str, Callable[[], Awaitable[float]]]
) -> dict[str, list[float]]:
    for run in runs.values():
        await run()
    return await interleave(rounds, runs)


async def _stream_minute(server: BenchServer, folder: Path) -> Streamed:
    path = folder / "minute.wav"
    path.write_bytes(write_floats(np.tile(SAMPLES["en_fox"].read(), 24)))
    return await stream_file(server, path)
