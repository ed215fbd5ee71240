"""`python -m tests.bench.partials whisper`, or `qwen3`: the time to first text, and its cost in word errors.

The share of the time before the first text of a minute of audio, and the errors of the final text. Whisper
gets the recordings in SPEECH_DIR, or else those in tests/audio. The miniature of Qwen3-ASR knows only its own
samples, in windows of 5 s.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.support.joined_speech import JoinedSpeech, Recording, join_recordings, read_recordings
from tests.support.media_files import CLIPS
from tests.support.partial_times import time_stream
from tests.support.qwen_server import SETTINGS
from tests.support.server import RealServer
from tests.support.tiny_qwen3 import TINY
from tests.word_errors import add_counts, count_errors


class Bench(NamedTuple):
    """The settings of an engine, and its speech."""

    settings: dict[str, str]
    recordings: Sequence[Recording]


def choose_bench(engine: str) -> Bench:
    """Return the measurement of `engine`."""
    if engine == "whisper":
        return Bench({"ENGINE": "whisper"}, read_human_speech())
    recordings = read_recordings(TINY / "samples", text_column="text", language="English")
    known = [recording for recording in recordings if len(recording.pcm) <= 5 * 32_000]
    return Bench(SETTINGS, known)


def read_human_speech() -> list[Recording]:
    """Return the recordings in SPEECH_DIR if that is set, else those of a synthetic voice."""
    folder = os.environ.get("SPEECH_DIR")
    if folder:
        return read_recordings(Path(folder), text_column="reference")
    return read_recordings(CLIPS, text_column="text")


def measure(bench: Bench, files: Sequence[JoinedSpeech]) -> str:
    """Measure and return a row of the table."""
    folder = Path(tempfile.mkdtemp(prefix="qasr-"))
    settings = bench.settings | {"IDLE_TIMEOUT": "0"}
    with RealServer(folder, **settings) as server:
        time_stream(server.start(), join_recordings(bench.recordings, length_s=1).file)  # loads the model
        times = [time_stream(server, file.file) for file in files]
    shutil.rmtree(folder)
    errors = add_counts(
        count_errors(file.text, time.text, language="en") for file, time in zip(files, times, strict=True)
    )
    shares = [time.first_share for time in times]
    total_s = statistics.median(time.total_s for time in times)
    cells = (
        settings["ENGINE"],
        f"{statistics.median(shares):.3f}",
        f"{max(shares):.3f}",
        f"{total_s:.1f}",
        f"{errors.rate:.1%} ({errors.errors} of {errors.words})",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table of one engine."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.partials", description=__doc__)
    parser.add_argument("engine", choices=("whisper", "qwen3"))
    parser.add_argument("--files", type=int, default=3, help="how many files of a minute each")
    asked = parser.parse_args()
    bench = choose_bench(asked.engine)
    step = max(1, len(bench.recordings) // asked.files)
    files = [join_recordings(bench.recordings, first=number * step) for number in range(asked.files)]
    sys.stdout.write(
        "| engine | first text, share of the time: median | highest | all of it, s: median "
        "| word errors |\n|---|---|---|---|---|\n"
    )
    sys.stdout.write(measure(bench, files) + "\n")


if __name__ == "__main__":
    main()
