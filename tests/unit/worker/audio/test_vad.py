"""The detector gives the same probabilities for a stream in blocks as for the whole stream."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
from faster_whisper.vad import get_vad_model

from tests.support.media_files import CLIPS
from worker.audio.vad import CHUNK_SAMPLES, Probabilities, SileroVad
from worker.engines.protocol import Samples


@pytest.fixture(scope="module")
def vad() -> SileroVad:
    return SileroVad()


@pytest.fixture(scope="module")
def speech() -> Samples:
    samples: Samples = soundfile.read(CLIPS / "speech.flac", dtype="float32")[0]
    return samples


def detect(vad: SileroVad, samples: Samples, *, block_samples: int) -> Probabilities:
    stream = vad.open_stream()
    starts = range(0, len(samples), block_samples)
    found = [stream.detect(samples[start : start + block_samples]) for start in starts]
    return np.concatenate([*found, stream.finish()])


def test_blocks_give_the_probabilities_of_the_whole_array(vad: SileroVad, speech: Samples) -> None:
    # faster-whisper silences the end of its last chunk, so that one is given as padding.
    padded = np.pad(speech, (0, 2 * CHUNK_SAMPLES - len(speech) % CHUNK_SAMPLES))
    expected = get_vad_model()(padded)[:-1]

    found = detect(vad, speech, block_samples=1_000)

    assert len(found) == len(expected)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("block_samples", [1, 511, 512, 513, 40_000, 10**6])
def test_the_size_of_the_blocks_does_not_matter(vad: SileroVad, speech: Samples, block_samples: int) -> None:
    head = speech[: 20 * CHUNK_SAMPLES + 100]

    found = detect(vad, head, block_samples=block_samples)

    np.testing.assert_allclose(found, detect(vad, head, block_samples=4_096), atol=1e-5)


def test_speech_is_told_from_silence(vad: SileroVad, speech: Samples) -> None:
    silence = np.zeros(len(speech), np.float32)

    assert detect(vad, speech, block_samples=16_000).max() > 0.9
    assert detect(vad, silence, block_samples=16_000).max() < 0.1


def test_a_stream_starts_afresh(vad: SileroVad, speech: Samples) -> None:
    first = detect(vad, speech, block_samples=16_000)

    np.testing.assert_array_equal(detect(vad, speech, block_samples=16_000), first)


def test_no_samples_give_no_probabilities(vad: SileroVad) -> None:
    stream = vad.open_stream()

    assert len(stream.detect(np.zeros(0, np.float32))) == 0
    assert len(stream.finish()) == 0


def test_the_detector_does_not_load_what_whisper_needs() -> None:
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import worker.audio.vad, sys; worker.audio.vad.SileroVad(); print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert {"av", "ctranslate2", "faster_whisper", "tokenizers"}.isdisjoint(loaded)
