"""The speech of the test: clips of one window each, with their texts, and a long file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.audio_format import SAMPLE_RATE_HZ
from tests.bench.settings import BenchSettings
from tests.bench.speech import Speech, read_speech
from tests.support.audio import write_pcm
from tests.support.joined_speech import Recording
from tests.support.tiny_qwen3 import SAMPLES, SPOKEN
from tests.word_errors import ErrorCount, add_counts, count_errors

MAX_CLIPS = 16
CLIP_S = 28.0  # more than three blocks of the encoder, and less than a window
BLOCK_S = 8.0
_BYTES_PER_S = 2 * SAMPLE_RATE_HZ


@dataclass(frozen=True)
class Clip:
    """Samples as 16-bit PCM, with the text and its language."""

    pcm: bytes
    text: str
    language: str = "en"

    @property
    def file(self) -> bytes:
        """The clip as a WAV file."""
        return write_pcm(self.pcm)


@dataclass(frozen=True)
class TestSpeech:
    """The clips, and the recordings that long files are made of."""

    clips: Sequence[Clip]
    source: str

    def save_clips(self, path: Path) -> None:
        """Write the samples of the clips to a file of numpy."""
        floats = [np.frombuffer(clip.pcm, "<i2").astype(np.float32) / 32_768 for clip in self.clips]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, *floats)

    def repeat_to(self, length_s: float) -> bytes:
        """Return a WAV file of `length_s` made of all clips in turns."""
        pcm = b"".join(clip.pcm for clip in self.clips)
        wanted = round(length_s * _BYTES_PER_S / 2) * 2
        return write_pcm((pcm * (wanted // len(pcm) + 1))[:wanted])

    def count_errors(self, texts: Sequence[str]) -> ErrorCount:
        """Return the word errors of the texts of all clips."""
        return add_counts(
            count_errors(clip.text, text, language=clip.language)
            for clip, text in zip(self.clips, texts, strict=True)
        )


def choose_speech(settings: BenchSettings) -> TestSpeech:
    """Return the samples of the miniature on the CPU, else speech of SPEECH_DIR or of the tests' voice."""
    if settings.device == "cpu":
        return TestSpeech([*_read_samples()], "the samples of the miniature")
    speech = read_speech(settings.speech_dir)
    return TestSpeech([*_join(speech)], speech.source)


def _read_samples() -> Iterator[Clip]:
    """Yield the samples of one block of the encoder, on which the miniature is right."""
    for name in SPOKEN:
        sample = SAMPLES[name]
        pcm = (sample.read() * 32_767).astype("<i2").tobytes()
        if len(pcm) <= BLOCK_S * _BYTES_PER_S:
            yield Clip(pcm, sample.text, sample.code or "en")


def _join(speech: Speech) -> Iterator[Clip]:
    """Yield up to MAX_CLIPS clips of one window, each of whole recordings."""
    kept = [one for one in speech.recordings if len(one.pcm) <= CLIP_S * _BYTES_PER_S]
    for first in range(MAX_CLIPS):
        taken: list[Recording] = []
        for place in range(len(kept)):
            one = kept[(first + place) % len(kept)]
            if sum(len(other.pcm) for other in taken) + len(one.pcm) <= CLIP_S * _BYTES_PER_S:
                taken.append(one)
        yield Clip(b"".join(one.pcm for one in taken), " ".join(one.text for one in taken))
