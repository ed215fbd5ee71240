"""The model generates the language's name for each clip and no more, in batches that fit into memory."""

import numpy as np
import pytest

from shared.audio_format import SAMPLE_RATE_HZ
from tests.support.qwen3_stand_in import ENGLISH, Listener, ModelStandIn
from worker.engines.protocol import DecodingStopped
from worker.engines.qwen3.inputs import Clip, take_all
from worker.engines.qwen3.language_detection import LanguageDetector
from worker.engines.qwen3.token_generator import OutOfDeviceMemory

GERMAN = "language German<asr_text>"
MANY = 1_000 * SAMPLE_RATE_HZ


def make_clip(number: int, *, seconds: float = 2) -> Clip:
    return take_all(np.full(int(seconds * SAMPLE_RATE_HZ), number, np.float32))


def detect(
    model: ModelStandIn, clips: list[Clip], listener: Listener | None = None, *, max_samples: int = MANY
) -> list[str | None]:
    return LanguageDetector(model, (listener or Listener()).is_stopped, max_samples=max_samples).detect(clips)


@pytest.mark.parametrize(
    ("said", "language"),
    [
        (f"{ENGLISH}Hello.", "English"),
        ("language None<asr_text>", None),
        ("language Klingon<asr_text>Qapla'!", None),
        ("", None),
        ("It is raining. " * 9, None),
    ],
)
def test_the_language_is_the_one_that_the_model_names(said: str, language: str | None) -> None:
    assert detect(ModelStandIn(said), [make_clip(0)]) == [language]


def test_no_more_is_generated_than_the_name_of_the_language() -> None:
    listener = Listener()

    detect(ModelStandIn(f"{ENGLISH}{'Hello. ' * 99}", f"{GERMAN}Ja."), [make_clip(0), make_clip(1)], listener)

    assert listener.stop_checks == 1 + len(" English")
    assert listener.partials == []


def test_clips_of_similar_length_share_a_batch_within_memory() -> None:
    model = ModelStandIn(ENGLISH, GERMAN, ENGLISH, GERMAN)
    clips = [make_clip(0, seconds=5), make_clip(1), make_clip(2), make_clip(3, seconds=3)]

    languages = detect(model, clips, max_samples=6 * SAMPLE_RATE_HZ)

    assert languages == ["English", "German", "English", "German"]
    assert model.calls == [[1, 2], [3], [0]]


def test_a_batch_that_does_not_fit_is_detected_in_halves() -> None:
    model = ModelStandIn(ENGLISH, GERMAN, ENGLISH, max_sequences=2)

    languages = detect(model, [make_clip(number) for number in range(3)])

    assert languages == ["English", "German", "English"]
    assert model.calls == [[0, 1, 2], [0], [1, 2]]


def test_without_memory_for_one_clip_it_fails() -> None:
    with pytest.raises(OutOfDeviceMemory):
        detect(ModelStandIn(ENGLISH, max_sequences=0), [make_clip(0)])


def test_a_stop_takes_effect_at_the_next_token() -> None:
    listener = Listener(max_checks=5)

    with pytest.raises(DecodingStopped):
        detect(ModelStandIn(ENGLISH), [make_clip(0)], listener)

    assert listener.stop_checks == 6
