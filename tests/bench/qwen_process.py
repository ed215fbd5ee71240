"""The Qwen engine and Qwen's own package, side by side in one process of the environment with torch.

Each line on standard input is a JSON call, and gets one line: the seconds that it took, and the texts.
Both use the miniature, one thread, and the same windows: each a whole sample with its pauses.
"""

import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import TranscriptionRequest
from shared.transcripts import join_segments
from tests.bench.line_process import LineProcess, open_line_process
from tests.support.rows import decode_windows
from tests.support.tiny_qwen3 import SAMPLES, TINY
from worker.audio.vad import SileroVad
from worker.audio.window_plan import WindowConfig
from worker.audio.windows import cut_windows
from worker.engines.catalog import LanguageChanges
from worker.engines.protocol import Window
from worker.settings import WorkerSettings

MODULE = "tests.bench.qwen_process"
MAX_WINDOWS = 16
_LONGEST_S = 10.0  # all samples but one are shorter


class Side(StrEnum):
    """The code that transcribes."""

    ENGINE = "engine"  # this project's engine
    WITHOUT_SEARCH = "without_search"  # the engine with LANGUAGE_CHANGES=off
    PACKAGE = "package"  # the `transcribe` of Qwen's package


class QwenCall(msgspec.Struct, frozen=True):
    """Samples of the miniature, each of them one window, to be transcribed in one call."""

    side: Side
    names: tuple[str, ...]
    language: str | None = None


class Transcribed(msgspec.Struct, frozen=True):
    """The seconds of a call, and the text of each window."""

    took_s: float
    texts: tuple[str, ...]


Transcribe = Callable[[Sequence[Window], str | None], Sequence[str]]

_transcribed = msgspec.json.Decoder(Transcribed)
_call = msgspec.json.Decoder(QwenCall)


class QwenProcess:
    """The process, as the bench controls it."""

    def __init__(self, process: LineProcess) -> None:
        self._process = process

    async def transcribe(self, call: QwenCall) -> Transcribed:
        """Transcribe samples on one side."""
        return _transcribed.decode(await self._process.ask(msgspec.json.encode(call)))


@asynccontextmanager
async def open_qwen_process(python: Path) -> AsyncIterator[QwenProcess]:
    """Start the process; both models are loaded at its first call."""
    async with open_line_process(python, MODULE) as process:
        yield QwenProcess(process)


class _SilentListener:
    """A listener that drops all partials."""

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        """Do nothing."""

    def is_stopped(self) -> bool:
        """Return False: this job is never stopped."""
        return False


def _open_sides() -> dict[Side, Transcribe]:
    """Load the models of all sides."""
    import torch  # noqa: PLC0415 - only this process has it

    from worker.engines.qwen3.engine import Qwen3Engine  # noqa: PLC0415

    torch.set_num_threads(1)
    engines = {
        side: Qwen3Engine(
            WorkerSettings(
                model_id=str(TINY),
                device="cpu",
                batch_windows=MAX_WINDOWS,
                cpu_threads=1,
                language_changes=changes,
            )
        )
        for side, changes in (
            (Side.ENGINE, LanguageChanges.PAUSES),
            (Side.WITHOUT_SEARCH, LanguageChanges.OFF),
        )
    }
    for engine in engines.values():
        engine.load(lambda _phase: None)
    sides: dict[Side, Transcribe] = {side: _use_engine(engine) for side, engine in engines.items()}
    return sides | {Side.PACKAGE: _open_package()}


def _use_engine(engine: Any) -> Transcribe:
    def transcribe(windows: Sequence[Window], language: str | None) -> Sequence[str]:
        request = TranscriptionRequest(language_hint=language)
        transcripts = decode_windows(engine, windows, request, _SilentListener())
        return [join_segments(one.segments) for one in transcripts]

    return transcribe


def _open_package() -> Transcribe:
    import torch  # noqa: PLC0415
    from qwen_asr import Qwen3ASRModel  # noqa: PLC0415

    model: Any = Qwen3ASRModel.from_pretrained(
        str(TINY / "checkpoint"), dtype=torch.float32, device_map="cpu", max_inference_batch_size=MAX_WINDOWS
    )
    languages = {"en": "English", "de": "German", "zh": "Chinese"}

    def transcribe(windows: Sequence[Window], language: str | None) -> Sequence[str]:
        audio = [(window.samples, SAMPLE_RATE_HZ) for window in windows]
        found = model.transcribe(audio=audio, language=languages[language] if language else None)
        return [one.text for one in found]

    return transcribe


def _cut_whole(names: Sequence[str], vad: SileroVad) -> list[Window]:
    """Return each sample as one window of a file, with the pauses at which its language may change."""
    windows = []
    for index, name in enumerate(names):
        config = WindowConfig(window_s=_LONGEST_S)
        (window,) = cut_windows([SAMPLES[name].read()], vad.open_stream(), config=config)
        windows.append(msgspec.structs.replace(window, index=index))
    return windows


def serve_lines() -> None:
    """Answer calls until standard input ends. What libraries print goes to standard error."""
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    sides, vad = _open_sides(), SileroVad()
    for line in sys.stdin:
        call = _call.decode(line)
        windows = _cut_whole(call.names, vad)
        began = time.perf_counter()
        texts = sides[call.side](windows, call.language)
        answer = Transcribed(time.perf_counter() - began, tuple(texts))
        answers.write(msgspec.json.encode(answer) + b"\n")
        answers.flush()


if __name__ == "__main__":
    serve_lines()
