"""The clips that are submitted: noise made from the seed, or recordings of speech, with the expected text."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from shared.audio_format import SAMPLE_RATE_HZ
from tests.chaos.mix import Ending, Endpoint
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

TIMEOUT_S = 20.0
"""The REQUEST_TIMEOUT of the workers with the scripted engine."""

ENDLESS = {"speed": 0.01}
SCRIPTS: Mapping[Ending, Mapping[str, object]] = {
    Ending.CRASH: {"misbehaviour": "die_in_decode"},
    Ending.ERROR: {"misbehaviour": "raise"},
    Ending.CANCELLED: ENDLESS,
    Ending.TIMEOUT: ENDLESS,
}
"""The behaviour of the scripted engine that leads to each end."""

LATE_SHARE = 0.5
"""The share of the jobs with a crash or an error that finish their first window before."""

MEAN_BYTES = 140_000


@dataclass(frozen=True)
class Clip:
    """One upload with its form fields. `text` is the text of a correct answer, if its job should succeed."""

    name: str
    content: bytes
    text: str
    fields: Mapping[str, str] = field(default_factory=dict)
    ending: Ending = Ending.SUCCEEDED


class Clips(Protocol):
    """A source of clips."""

    def make(self, number: int, endpoint: Endpoint) -> Clip:
        """Return the clip of job `number`, with the text that `endpoint` must return."""


class NoiseClips:
    """Random samples for the scripted engine, different for each number.

    `doomed` are the jobs that must not succeed, with their ends.
    """

    def __init__(self, seed: int, doomed: Mapping[int, Ending]) -> None:
        self._seed = seed
        self._doomed = doomed

    def make(self, number: int, endpoint: Endpoint) -> Clip:
        """Return the clip of job `number`, the same for the same seed; deltas get slow speech."""
        draw = np.random.default_rng((self._seed, number))
        ending = self._doomed.get(number, Ending.SUCCEEDED)
        is_slow, is_long = endpoint is Endpoint.DELTAS, draw.random() < _long_share(ending)
        span = SLOW_S if is_slow else LONG_S if is_long else SHORT_S
        samples = draw.integers(-9_000, 9_000, round(draw.uniform(*span) * SAMPLE_RATE_HZ), dtype=np.int16)
        kind = "FLAC" if draw.random() < 0.5 else "WAV"
        words = expected_words(samples.astype(np.float32) / np.float32(1 << 15))
        fields: Mapping[str, str] = SLOWLY if is_slow else {}
        if ending in SCRIPTS:
            fields = _doom(ending, is_late=is_long, is_urgent=draw.random() < 0.5)
        return Clip(f"{number}.{kind.lower()}", _encode(samples, kind), " ".join(words), fields, ending)


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


def _long_share(ending: Ending) -> float:
    match ending:
        case Ending.SUCCEEDED:
            return LONG_SHARE
        case Ending.CRASH | Ending.ERROR:
            return LATE_SHARE
        case _:  # the limit of inference grows with the audio
            return 0.0


def _doom(ending: Ending, *, is_late: bool, is_urgent: bool) -> Mapping[str, str]:
    """Return the fields that lead to `ending`, in the second window if `is_late`."""
    script = dict(SCRIPTS[ending]) | ({"window": 1} if is_late else {})
    return {"prompt": json.dumps(script), "priority": "interactive" if is_urgent else "batch"}


def _encode(samples: np.ndarray[tuple[int], np.dtype[np.int16]], kind: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE_HZ, format=kind, subtype="PCM_16")
    return file.getvalue()
