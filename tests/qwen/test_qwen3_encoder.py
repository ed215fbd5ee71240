"""The engine encodes audio as Qwen's package does, and convolves a window once for all of its clips."""

import gc
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from qwen_asr.core.transformers_backend import Qwen3ASRForConditionalGeneration

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import TranscriptionRequest
from tests.support.qwen3_stand_in import Listener
from tests.support.rows import decode_windows
from tests.support.tiny_qwen3 import SAMPLES, TINY
from worker.audio.vad import SileroVad
from worker.audio.window_plan import WindowConfig
from worker.audio.windows import cut_windows
from worker.engines.protocol import Samples
from worker.engines.qwen3.aligner import load_aligner
from worker.engines.qwen3.device import Placement
from worker.engines.qwen3.encoder import AudioEncoder
from worker.engines.qwen3.engine import Qwen3Engine
from worker.engines.qwen3.inputs import Clip, take_all
from worker.settings import WorkerSettings

BLOCK_S = 8


@pytest.fixture(scope="module")
def engine() -> Qwen3Engine:
    loaded = Qwen3Engine(WorkerSettings(model_id=str(TINY), device="cpu"))
    loaded.load(lambda _phase: None)
    return loaded


@pytest.fixture
def encoder(engine: Qwen3Engine) -> AudioEncoder:
    return engine._model._encoder


def encode_whole_and_in_blocks(tower: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The vectors of 12 s of noise by `tower`, from one pass and from a pass for each 8 s of features."""
    features = torch.from_numpy(np.random.default_rng(1).standard_normal((128, 1200), dtype=np.float32))

    def encode(part: torch.Tensor) -> torch.Tensor:
        return tower(part, feature_lens=torch.tensor([part.shape[1]])).last_hidden_state

    with torch.inference_mode():
        return encode(features), torch.cat([encode(part) for part in features.split(100 * BLOCK_S, dim=1)])


@pytest.mark.parametrize("name", ["en_digits3", "zh_tea", "en_long20"])
def test_a_window_is_encoded_as_by_qwens_package(
    engine: Qwen3Engine, encoder: AudioEncoder, name: str
) -> None:
    samples = SAMPLES[name].read()
    features = torch.from_numpy(engine._model._processor.extract_features(samples))

    with torch.inference_mode():
        (encoded,) = encoder.encode([take_all(samples)])
        expected = engine._model._thinker.audio_tower(
            features, feature_lens=torch.tensor([features.shape[1]])
        ).last_hidden_state

    assert torch.equal(encoded, expected)


@pytest.mark.parametrize("rest_s", [4, 12])
def test_audio_is_encoded_in_blocks_of_8_seconds_that_do_not_see_each_other(
    encoder: AudioEncoder, rest_s: int
) -> None:
    samples = SAMPLES["en_long20"].read()[: (BLOCK_S + rest_s) * SAMPLE_RATE_HZ]
    bounds = [*range(0, len(samples), BLOCK_S * SAMPLE_RATE_HZ), len(samples)]
    clips = [Clip(samples, start, end) for start, end in pairwise(bounds)]

    with torch.inference_mode():
        (whole,) = encoder.encode([take_all(samples)])
        blocks = [encoder.encode([clip])[0] for clip in clips]

    torch.testing.assert_close(whole, torch.cat(blocks), atol=1e-4, rtol=1e-4)


def test_the_aligner_encodes_audio_in_blocks_too() -> None:
    tower = load_aligner(
        str(TINY / "aligner"), Placement("cpu", torch.float32)
    )._aligner.model.thinker.audio_tower

    whole, blocks = encode_whole_and_in_blocks(tower)

    torch.testing.assert_close(whole, blocks, atol=1e-4, rtol=1e-4)


def test_qwens_package_still_leaves_out_the_mask_of_blocks() -> None:
    tower = Qwen3ASRForConditionalGeneration.from_pretrained(str(TINY / "checkpoint")).thinker.audio_tower

    whole, blocks = encode_whole_and_in_blocks(tower)

    assert not torch.allclose(whole, blocks, atol=0.1), (
        "remove `keep_blocks_apart` of worker/engines/qwen3/encoder.py"
    )


def test_clips_that_share_a_pass_do_not_see_each_other(encoder: AudioEncoder) -> None:
    samples = SAMPLES["en_digits6"].read()
    clips = [
        Clip(samples, round(start * SAMPLE_RATE_HZ), round((start + 2.5) * SAMPLE_RATE_HZ))
        for start in (0.0, 1.7, 4.3)
    ]

    with torch.inference_mode():
        together = encoder.encode(clips)
        alone = [encoder.encode([clip])[0] for clip in clips]

    for first, second in zip(together, alone, strict=True):
        torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


def test_a_window_is_convolved_once_for_its_text_and_its_languages(
    engine: Qwen3Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    processor = engine._model._processor
    extract = processor.extract_features

    def spy(samples: Samples) -> npt.NDArray[np.float32]:
        lengths.append(len(samples))
        return extract(samples)

    monkeypatch.setattr(processor, "extract_features", spy)
    blocks = [SAMPLES["en_digits6"].read()]
    (window,) = cut_windows(blocks, SileroVad().open_stream(), config=WindowConfig(window_s=8))

    decode_windows(engine, [window], TranscriptionRequest(), Listener())

    assert len(window.pauses) > 1
    assert lengths == [len(window.samples)]


@pytest.mark.parametrize("model", ["recognition", "aligner"])
def test_long_audio_is_convolved_in_passes_of_six_seconds_at_most(
    engine: Qwen3Engine, encoder: AudioEncoder, model: str
) -> None:
    aligner = load_aligner(str(TINY / "aligner"), Placement("cpu", torch.float32))
    thinkers = {"recognition": engine._model._thinker, "aligner": aligner._aligner.model.thinker}
    samples = np.zeros(20 * SAMPLE_RATE_HZ, np.float32)
    seconds: list[int] = []
    handle = thinkers[model].audio_tower.conv2d1.register_forward_pre_hook(
        lambda _layer, inputs: seconds.append(len(inputs[0]))
    )

    with torch.inference_mode():
        encoder.encode([take_all(samples)])
    aligner.align(samples, "Hello", "en", lambda: False)

    handle.remove()
    assert seconds == [6, 6, 6, 2]


def test_vectors_are_freed_with_the_samples_of_their_window(encoder: AudioEncoder) -> None:
    samples = SAMPLES["en_digits3"].read()
    with torch.inference_mode():
        encoder.encode([take_all(samples)])
    held = len(encoder._convolved)

    del samples
    gc.collect()

    assert len(encoder._convolved) == held - 1
