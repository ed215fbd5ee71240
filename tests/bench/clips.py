"""The audio that is sent: noise for the scripted engine, speech for Whisper."""

import io
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.audio_format import SAMPLE_RATE_HZ

SPEECH = Path(__file__).parents[2] / "tests" / "audio" / "speech.wav"


def make_noise(seconds: float) -> npt.NDArray[np.int16]:
    """Return samples at 16 kHz, shape (seconds * 16000,), always the same."""
    draw = np.random.default_rng(1)
    return draw.integers(-9_000, 9_000, round(seconds * SAMPLE_RATE_HZ), dtype=np.int16)


def write_wav(samples: npt.NDArray[np.int16]) -> bytes:
    """Return a WAV file of mono 16 kHz samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE_HZ)
        writer.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def repeat_speech(times: int) -> bytes:
    """Return a WAV file with the sentence of the tests' clip, repeated `times` times."""
    with wave.open(str(SPEECH)) as reader:
        sentence = np.frombuffer(reader.readframes(reader.getnframes()), dtype="<i2")
    return write_wav(np.tile(sentence, times))
