"""The Whisper library called directly, in a process of its own that answers a line of JSON with another.

`python -m tests.bench.direct_whisper FOLDER` loads the model in FOLDER as the engine does: the same weights,
number format, beam and threads. All else is the default of the library's `transcribe`.
"""

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.bench.line_process import LineProcess, open_line_process
from worker.engines.whisper.engine import count_cores
from worker.settings import WorkerSettings

MODULE = "tests.bench.direct_whisper"
LANGUAGE = "en"


class Transcribed(msgspec.Struct, frozen=True):
    """The seconds that a call took, and its text."""

    took_s: float
    text: str


_transcribed = msgspec.json.Decoder(Transcribed)


class DirectWhisper:
    """The process, as the bench controls it."""

    def __init__(self, process: LineProcess) -> None:
        self._process = process

    async def transcribe(self, path: Path) -> Transcribed:
        """Transcribe a file in one call."""
        return _transcribed.decode(await self._process.ask(str(path).encode()))


@asynccontextmanager
async def open_direct_whisper(model: Path) -> AsyncIterator[DirectWhisper]:
    """Start the process and load the model; it ends with the block."""
    async with open_line_process(sys.executable, MODULE, str(model)) as process:
        yield DirectWhisper(process)


def serve_lines(folder: Path) -> None:
    """Transcribe the file that each line names, until standard input ends."""
    import faster_whisper  # noqa: PLC0415 - only this process needs it

    threads, beam_size = count_cores(), WorkerSettings().whisper_beam_size
    model: Any = faster_whisper.WhisperModel(
        str(folder), device="cpu", compute_type="int8", cpu_threads=threads
    )
    for line in sys.stdin:
        began = time.perf_counter()
        segments, _ = model.transcribe(line.strip(), language=LANGUAGE, beam_size=beam_size)
        text = "".join(segment.text for segment in segments)
        answer = Transcribed(time.perf_counter() - began, text.strip())
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve_lines(Path(sys.argv[1]))
