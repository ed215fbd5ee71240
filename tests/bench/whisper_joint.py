"""Whisper windows decoded in joint calls, beside the engine's way: each in a call of its own, two at a time.

`python -m tests.bench.whisper_joint SPEECH_DIR [ROUNDS]` cuts 16 clips of 10 s from the recordings in the
folder. In each round all ways decode them in turn. It prints the time and the CPU time of each way as shares
of the first one, and how many texts differ from it. Beam and weights are those of the engine. CPU time holds
on a busy machine too.
"""

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from shared.audio_format import SAMPLE_RATE_HZ
from worker.engines.whisper.engine import count_cores
from worker.engines.whisper.weights import find_weights
from worker.settings import WorkerSettings

CLIPS = 16
CLIP_S = 10
ROUNDS = 5
SIDE_BY_SIDE = 2


class JointWhisper:
    """The library's model, which encodes and generates the windows of one call together."""

    def __init__(self) -> None:
        import faster_whisper  # noqa: PLC0415 - only this program needs it
        from faster_whisper.tokenizer import Tokenizer  # noqa: PLC0415

        settings = WorkerSettings()
        folder = find_weights(settings.whisper_model, settings.models_dir)
        self._model: Any = faster_whisper.WhisperModel(
            *(str(folder), "cpu"), compute_type="int8", cpu_threads=count_cores(), num_workers=SIDE_BY_SIDE
        )
        library = self._model.hf_tokenizer
        self._tokenizer = Tokenizer(library, multilingual=True, task="transcribe", language="en")
        self._beam_size = settings.whisper_beam_size

    def transcribe(self, clips: Sequence[Any]) -> list[str]:
        """Return the text of each clip, float32 at 16 kHz, shape (n,)."""
        from faster_whisper.audio import pad_or_trim  # noqa: PLC0415

        features = [pad_or_trim(self._model.feature_extractor(clip)[:, :-1]) for clip in clips]
        encoding = self._model.encode(np.stack(features))
        prompts = [list(self._tokenizer.sot_sequence)] * len(clips)
        answers = self._model.model.generate(encoding, prompts, beam_size=self._beam_size)
        return [self._tokenizer.decode(answer.sequences_ids[0]) for answer in answers]


def cut_clips(folder: Path) -> list[Any]:
    """Return CLIPS clips of speech: the first seconds of each recording, then the next ones."""
    from faster_whisper import decode_audio  # noqa: PLC0415

    length = CLIP_S * SAMPLE_RATE_HZ
    recordings = [decode_audio(str(path)) for path in sorted(folder.iterdir()) if path.suffix != ".tsv"]
    longest = max(map(len, recordings))
    cuts = [
        recording[start : start + length]
        for start in range(0, longest, length)
        for recording in recordings
        if len(recording) >= start + length
    ]
    return cuts[:CLIPS]


def decode_in_calls(model: JointWhisper, clips: Sequence[Any], *, rows: int, at_once: int) -> list[str]:
    """Return the texts of `clips`, decoded in calls of so many rows, so many calls at once."""
    calls = [clips[start : start + rows] for start in range(0, len(clips), rows)]
    with ThreadPoolExecutor(at_once) as pool:
        return [text for texts in pool.map(model.transcribe, calls) for text in texts]


def measure(folder: Path, rounds: int) -> None:
    """Print the figures."""
    model, clips = JointWhisper(), cut_clips(folder)
    ways = [(1, SIDE_BY_SIDE), (4, SIDE_BY_SIDE), (8, SIDE_BY_SIDE), (CLIPS, 1)]
    took_s: dict[tuple[int, int], list[float]] = {way: [] for way in ways}
    used_s: dict[tuple[int, int], list[float]] = {way: [] for way in ways}
    texts: dict[tuple[int, int], list[str]] = {}
    for _ in range(rounds):
        for rows, at_once in ways:
            began, used = time.perf_counter(), time.process_time()
            texts[rows, at_once] = decode_in_calls(model, clips, rows=rows, at_once=at_once)
            took_s[rows, at_once].append(time.perf_counter() - began)
            used_s[rows, at_once].append(time.process_time() - used)
    first = ways[0]
    for way in ways:
        differing = sum(own != alone for own, alone in zip(texts[way], texts[first], strict=True))
        print(
            f"rows of a call: {way[0]}, calls at once: {way[1]}; differing texts: {differing}; "
            f"time {describe_shares(took_s[way], took_s[first])}; CPU time "
            f"{describe_shares(used_s[way], used_s[first])}"
        )


def describe_shares(own_s: Sequence[float], first_s: Sequence[float]) -> str:
    """Return the median of the shares, and their range."""
    shares = [own / first for own, first in zip(own_s, first_s, strict=True)]
    return f"{median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})"


if __name__ == "__main__":
    measure(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS)
