"""Long files through the server, beside the plain call of the same library."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import httpx_sse

from tests.bench.direct_whisper import LANGUAGE, DirectWhisper, open_direct_whisper
from tests.bench.engine_time import DIRECT, MODELS_FOLDER
from tests.bench.figures import Comparison, Figure, Findings, Goal, Growth
from tests.bench.interleaving import order_runs
from tests.bench.memory import PeakMemory
from tests.bench.server import BenchServer, serve
from tests.bench.settings import BenchSettings
from tests.bench.speech import measure_s, read_speech
from tests.support.joined_speech import JoinedSpeech
from tests.word_errors import count_errors
from worker.engines.whisper.weights import find_weights

PATIENCE_S = "36000"
TIME_GOAL = Goal(0.8, Comparison.RATIO)
ERROR_GOAL = Goal(0.3, Comparison.ADDED)
FIRST_TEXT_GOAL = Goal(0.15)
MEMORY_GOAL = Goal(1.1, Comparison.RATIO)
FIRST_TEXT_MINUTES = 1
NOTES = (
    "Files of {source}, joined and repeated, go to `POST /v1/audio/transcriptions/stream` with the language "
    "given and the model loaded. The counterpart is the plain `WhisperModel.transcribe` of faster-whisper. "
    "Words wrong count insertions, deletions and replacements. First text is the time until text comes, and "
    "its share of the whole. Peak memory is the highest PSS of a process, looked at ten times a second."
)


@dataclass
class _Measured:
    """The values of one file, one per round; times in s, memory in MB by process."""

    here_s: list[float] = field(default_factory=list)
    direct_s: list[float] = field(default_factory=list)
    first_text_s: list[float] = field(default_factory=list)
    wrong_percent: list[float] = field(default_factory=list)
    direct_wrong_percent: list[float] = field(default_factory=list)
    peaks_mb: dict[str, list[float]] = field(default_factory=dict)

    @property
    def first_text_shares(self) -> list[float]:
        """The share of the time that passed before there was text."""
        return [first / total for first, total in zip(self.first_text_s, self.here_s, strict=True)]


@dataclass(frozen=True)
class Streamed:
    """The answer of the streaming endpoint."""

    first_text_s: float
    total_s: float
    text: str


async def stream_file(server: BenchServer, path: Path, *, language: str | None = None) -> Streamed:
    """Send a file to the streaming endpoint, and read all that comes."""
    began, first_text_s, text = time.perf_counter(), 0.0, ""
    with path.open("rb") as file:
        request = httpx_sse.aconnect_sse(
            *(server.http, "POST", "/v1/audio/transcriptions/stream"),
            files={"file": file},
            data={"language": language} if language else {},
            timeout=float(PATIENCE_S),
        )
        async with request as source:
            async for event in source.aiter_sse():
                body = json.loads(event.data) if event.event == "message" and event.data else {}
                if "error" in body:
                    raise RuntimeError(f"the stream failed: {body}")
                text = body.get("text", text)
                if text and not first_text_s:
                    first_text_s = time.perf_counter() - began
    return Streamed(first_text_s, time.perf_counter() - began, text)


async def measure_files(settings: BenchSettings, folder: Path) -> Findings:
    """Measure files of each length; longer ones in fewer rounds."""
    speech = read_speech(settings.speech_dir)
    model = find_weights("", folder.parent / MODELS_FOLDER)
    measured: dict[float, _Measured] = {}
    async with (
        serve(folder, ENGINE="whisper", WHISPER_MODEL=str(model), REQUEST_TIMEOUT=PATIENCE_S) as server,
        open_direct_whisper(model) as direct,
    ):
        await server.start_worker()
        warm_up = folder / "warm-up.wav"
        warm_up.write_bytes(speech.cut_clip(3))
        await stream_file(server, warm_up)
        await direct.transcribe(warm_up)
        for wanted in settings.scale.minutes:
            joined = await asyncio.to_thread(speech.join_file, wanted * 60)
            rounds = max(1, min(settings.scale.few_rounds, round(15 / wanted)))
            measured[_name_minutes(joined.file)] = await _measure_file(server, direct, joined, rounds=rounds)
    return Findings(
        f"Long files on the CPU engine, {speech.source}",
        NOTES.format(source=speech.source),
        _describe(measured),
        growths=_describe_growth(measured),
    )


def _name_minutes(file: bytes) -> float:
    """Return the minutes of a file as its figures show them."""
    minutes = measure_s(file) / 60
    return round(minutes, 1 if minutes >= 1 else 2)


async def _measure_file(
    server: BenchServer, direct: DirectWhisper, joined: JoinedSpeech, *, rounds: int
) -> _Measured:
    path, found = server.folder / "joined.wav", _Measured()
    await asyncio.to_thread(path.write_bytes, joined.file)
    runs = (
        partial(_measure_here, server, path, joined.text, found),
        partial(_measure_directly, direct, path, joined.text, found),
    )
    for number in range(rounds):
        for run in order_runs(runs, number):
            await run()
    return found


async def _measure_directly(direct: DirectWhisper, path: Path, text: str, found: _Measured) -> None:
    plain = await direct.transcribe(path)
    found.direct_s.append(plain.took_s)
    found.direct_wrong_percent.append(_find_errors(text, plain.text))


async def _measure_here(server: BenchServer, path: Path, text: str, found: _Measured) -> None:
    async with PeakMemory(server) as memory:
        streamed = await stream_file(server, path, language=LANGUAGE)
    found.here_s.append(streamed.total_s)
    found.first_text_s.append(streamed.first_text_s)
    found.wrong_percent.append(_find_errors(text, streamed.text))
    for name, peak_mb in memory.peaks_mb.items():
        found.peaks_mb.setdefault(name, []).append(peak_mb)


def _find_errors(expected: str, text: str) -> float:
    return 100 * count_errors(expected, text, language=LANGUAGE).rate


def _describe(measured: Mapping[float, _Measured]) -> list[Figure]:
    figures = []
    for minutes, found in measured.items():
        name = f"file of {minutes:g} min"
        figures += [
            Figure(name, "s", found.here_s, found.direct_s, DIRECT, TIME_GOAL),
            Figure(
                *(f"{name}: words wrong", "%", found.wrong_percent, found.direct_wrong_percent, DIRECT),
                ERROR_GOAL,
            ),
        ]
    brief = min(measured, key=lambda minutes: abs(minutes - FIRST_TEXT_MINUTES))
    figures.append(
        Figure(
            *(f"first text of {brief:g} min, share of the time", "", measured[brief].first_text_shares),
            goal=FIRST_TEXT_GOAL,
        )
    )
    return [*figures, *_compare_longest(measured)]


def _compare_longest(measured: Mapping[float, _Measured]) -> list[Figure]:
    """Return the memory and first text of the longest file, beside the second longest."""
    *_, shorter, longest = sorted(measured)
    name, counterpart = f"file of {longest:g} min", f"file of {shorter:g} min"
    return [
        *(
            Figure(
                *(f"{name}: peak memory, {part}", "MB", _take_highest(peaks_mb)),
                *(_take_highest(measured[shorter].peaks_mb.get(part, peaks_mb)), counterpart, MEMORY_GOAL),
            )
            for part, peaks_mb in measured[longest].peaks_mb.items()
        ),
        Figure(
            *(f"{name}: first text", "s", [median(measured[longest].first_text_s)]),
            *([median(measured[shorter].first_text_s)], counterpart, MEMORY_GOAL),
        ),
    ]


def _take_highest(values: list[float]) -> list[float]:
    return [max(values)]


def _describe_growth(measured: Mapping[float, _Measured]) -> list[Growth]:
    parts = list(dict.fromkeys(part for found in measured.values() for part in found.peaks_mb))
    times = {
        "this server": {minutes: found.here_s for minutes, found in measured.items()},
        DIRECT: {minutes: found.direct_s for minutes, found in measured.items()},
    }
    first = {"this server": {minutes: found.first_text_s for minutes, found in measured.items()}}
    memory = {
        part: {minutes: found.peaks_mb[part] for minutes, found in measured.items() if part in found.peaks_mb}
        for part in parts
    }
    axis = "minute of audio"
    return [
        Growth("Time of a file", axis, "s", times),
        Growth("First text of a file", axis, "s", first),
        Growth("Peak memory of a file", axis, "MB", memory),
    ]
