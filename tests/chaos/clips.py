"""The clips that are submitted: noise made from the seed, or recordings of speech, with the expected text."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from shared.audio_format import SAMPLE_RATE_HZ
from tests.chaos.mix import Endpoint
from worker.engines.scripted.engine import expected_words

SPEECH_DIR = Path(__file__).parents[2] / "tests" / "audio"
SPEECH_FILES = ("speech.wav", "speech.flac", "speech.mp3", "speech.m4a", "long.ogg")

WINDOW_S = 5.0
"""The window length of the scripted engine: whole seconds, because it emits one word per second."""

SHORT_S = (1.2, 4.0)
LONG_S = (10.0, 20.0)  # several windows, so that faults hit in the middle
LONG_SHARE = 0.12
SLOW_S = (5.0, 10.0)
SLOWLY = {"prompt": '{"speed": 3}'}
"""The field that slows the scripted engine down, so that Redis can be gone and back within a window."""

MEAN_BYTES = 140_000


@dataclass(frozen=True)
class Clip:
    """One upload with its form fields. `text` is the text of a correct answer."""

    name: str
    content: bytes
    text: str
    fields: Mapping[str, str] = field(default_factory=dict)


class Clips(Protocol):
    """A source of clips."""

    def make(self, number: int, endpoint: Endpoint) -> Clip:
        """Return the clip of job `number`, with the text that `endpoint` must return."""


class NoiseClips:
    """Random samples for the scripted engine, different for each number."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def make(self, number: int, endpoint: Endpoint) -> Clip:
        """Return the clip of job `number`, the same for the same seed; deltas get slow speech."""
        draw = np.random.default_rng((self._seed, number))
        is_slow, is_long = endpoint is Endpoint.DELTAS, draw.random() < LONG_SHARE
        span = SLOW_S if is_slow else LONG_S if is_long else SHORT_S
        samples = draw.integers(-9_000, 9_000, round(draw.uniform(*span) * SAMPLE_RATE_HZ), dtype=np.int16)
        kind = "FLAC" if draw.random() < 0.5 else "WAV"
        words = expected_words(samples.astype(np.float32) / np.float32(1 << 15))
        name, fields = f"{number}.{kind.lower()}", SLOWLY if is_slow else {}
        return Clip(name, _encode(samples, kind), " ".join(words), fields)


class SpeechClips:
    """Recordings of speech in turn, each with the text that the same endpoint returned before any fault."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, Endpoint], str] = {}

    def make(self, number: int, endpoint: Endpoint) -> Clip:
        """Return the recording of job `number`."""
        name = SPEECH_FILES[number % len(SPEECH_FILES)]
        return Clip(name, (SPEECH_DIR / name).read_bytes(), self._texts.get((name, endpoint), ""))

    def learn(self, number: int, endpoint: Endpoint, text: str) -> None:
        """Expect `text` from `endpoint` for recording `number`."""
        self._texts[SPEECH_FILES[number % len(SPEECH_FILES)], endpoint] = text


def _encode(samples: np.ndarray[tuple[int], np.dtype[np.int16]], kind: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE_HZ, format=kind, subtype="PCM_16")
    return file.getvalue()
