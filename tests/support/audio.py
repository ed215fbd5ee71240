"""Audio made for tests: tones whose every second differs, so that the scripted engine tells them apart."""

import io
import wave

import numpy as np
import numpy.typing as npt

from worker.engines.scripted.engine import expected_words

SAMPLE_RATE_HZ = 16_000
_INT16_SCALE = 1 << 15


def make_tones(seconds: float, *, seed: int = 0) -> npt.NDArray[np.int16]:
    """Mono 16 kHz s16 samples, shape (seconds * 16000,): another chord each second, given by `seed`."""
    random = np.random.default_rng(seed)
    times_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    frequencies_hz = random.uniform(200, 3000, size=(int(seconds) + 1, 2))
    which = np.minimum(times_s.astype(int), len(frequencies_hz) - 1)
    chord = np.sin(2 * np.pi * frequencies_hz[which] * times_s[:, None]).mean(axis=1)
    return np.asarray(chord * 8000, dtype=np.int16)


def write_wav(samples: npt.NDArray[np.int16]) -> bytes:
    """A WAV file of mono 16 kHz samples, which every decoder gives back bit by bit."""
    return write_pcm(samples.astype("<i2").tobytes())


def write_pcm(pcm: bytes) -> bytes:
    """A WAV file of mono 16 kHz samples, given as signed 16-bit little-endian PCM."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE_HZ)
        writer.writeframes(pcm)
    return file.getvalue()


def write_floats(samples: npt.NDArray[np.float32]) -> bytes:
    """A WAV file of mono 16 kHz samples in -1..1."""
    return write_wav(np.round(samples * np.float32(_INT16_SCALE)).astype(np.int16))


def spoken_text(samples: npt.NDArray[np.int16]) -> str:
    """What the scripted engine says to these samples."""
    return " ".join(expected_words(samples.astype(np.float32) / np.float32(_INT16_SCALE)))
