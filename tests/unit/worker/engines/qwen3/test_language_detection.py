"""The model is asked for the language of each region of speech, and for no more, within its memory."""

import numpy as np
import pytest

from shared.audio_format import SAMPLE_RATE_HZ
from tests.support.qwen3_stand_in import ENGLISH, Listener, ModelStandIn
from worker.engines.catalog import LanguageChanges
from worker.engines.protocol import DecodingStopped, Samples, Span, Window
from worker.engines.qwen3.decoding import OutOfDeviceMemory
from worker.engines.qwen3.language_changes import cut_at_language_changes
from worker.engines.qwen3.language_detection import LanguageDetector

GERMAN = "language German<asr_text>"
MANY = 1_000 * SAMPLE_RATE_HZ


def make_clip(number: int, *, seconds: float = 2) -> Samples:
    return np.full(int(seconds * SAMPLE_RATE_HZ), number, np.float32)


def make_window(index: int, *clips: Samples) -> Window:
    """A window with a pause between each two clips."""
    samples = np.concatenate(clips)
    pauses = np.cumsum([len(clip) for clip in clips])[:-1]
    return Window(
        index, (Span(0, len(samples)),), samples, len(samples), tuple(int(pause) for pause in pauses)
    )


def detect(
    model: ModelStandIn, clips: list[Samples], listener: Listener | None = None, *, max_samples: int = MANY
) -> list[str | None]:
    return LanguageDetector(model, listener or Listener(), max_samples=max_samples).detect(clips)


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
def test_the_language_is_that_of_the_head(said: str, language: str | None) -> None:
    assert detect(ModelStandIn(said), [make_clip(0)]) == [language]


def test_no_more_is_generated_than_the_heads() -> None:
    listener = Listener()

    detect(ModelStandIn(f"{ENGLISH}{'Hello. ' * 99}", f"{GERMAN}Ja."), [make_clip(0), make_clip(1)], listener)

    assert listener.stop_checks == 1 + len(ENGLISH)
    assert listener.partials == []


def test_clips_of_a_length_are_asked_about_at_once_as_far_as_memory_allows() -> None:
    model = ModelStandIn(ENGLISH, GERMAN, ENGLISH, GERMAN)
    clips = [make_clip(0, seconds=5), make_clip(1), make_clip(2), make_clip(3, seconds=3)]

    languages = detect(model, clips, max_samples=6 * SAMPLE_RATE_HZ)

    assert languages == ["English", "German", "English", "German"]
    assert model.calls == [[1, 2], [3], [0]]


def test_without_memory_for_all_halves_are_tried() -> None:
    model = ModelStandIn(ENGLISH, GERMAN, ENGLISH, max_sequences=2)

    languages = detect(model, [make_clip(number) for number in range(3)])

    assert languages == ["English", "German", "English"]
    assert model.calls == [[0, 1, 2], [0], [1, 2]]


def test_without_memory_for_one_clip_it_fails() -> None:
    with pytest.raises(OutOfDeviceMemory):
        detect(ModelStandIn(ENGLISH, max_sequences=0), [make_clip(0)])


def test_stop_is_heard_at_the_next_token() -> None:
    listener = Listener(max_checks=10)

    with pytest.raises(DecodingStopped):
        detect(ModelStandIn(ENGLISH), [make_clip(0)], listener)

    assert listener.stop_checks == 11


def test_short_windows_without_pauses_are_not_asked_about() -> None:
    model = ModelStandIn()
    windows = [make_window(0, make_clip(0)), make_window(1, make_clip(1))]

    cut = cut_at_language_changes(model, windows, Listener(), LanguageChanges.ALWAYS)

    assert [part.index for part in cut.parts] == [0, 1]
    assert model.calls == []


def test_of_a_long_window_without_pauses_both_ends_are_asked_about() -> None:
    model = ModelStandIn(ENGLISH, GERMAN, GERMAN)
    samples = np.concatenate([make_clip(number, seconds=4) for number in range(2)])
    mixed = Window(4, (Span(0, len(samples)),), samples, len(samples))
    plain = make_window(5, make_clip(2, seconds=6))

    cut = cut_at_language_changes(model, [mixed, plain], Listener(), LanguageChanges.ALWAYS)

    assert [part.index for part in cut.parts] == [4, 4, 5]
    assert [len(warnings) for warnings in cut.warnings.values()] == [1, 0]
    assert sorted(model.calls[0]) == [0, 1, 2, 2]


def test_speech_without_a_pause_is_not_examined_at_pauses_alone() -> None:
    model = ModelStandIn(ENGLISH, GERMAN, ENGLISH, GERMAN)
    samples = np.concatenate([make_clip(number, seconds=4) for number in range(2)])
    mixed = Window(4, (Span(0, len(samples)),), samples, len(samples))
    paused = make_window(5, make_clip(2, seconds=6), make_clip(3, seconds=6))

    cut = cut_at_language_changes(model, [mixed, paused], Listener(), LanguageChanges.PAUSES)

    assert [part.index for part in cut.parts] == [4, 5, 5]
    assert not any(cut.warnings.values())
    assert model.calls == [[2, 3]]


@pytest.mark.parametrize("changes", [LanguageChanges.PAUSES, LanguageChanges.ALWAYS])
def test_windows_are_cut_where_the_model_hears_another_language(changes: LanguageChanges) -> None:
    model = ModelStandIn("", ENGLISH, GERMAN, GERMAN, ENGLISH, ENGLISH)
    windows = [
        make_window(4, make_clip(0)),
        make_window(5, make_clip(1), make_clip(2), make_clip(3)),
        make_window(6, make_clip(4), make_clip(5)),
    ]

    cut = cut_at_language_changes(model, windows, Listener(), changes)

    assert [(part.index, set(part.samples)) for part in cut.parts] == [
        (4, {0}),
        (5, {1}),
        (5, {2, 3}),
        (6, {4, 5}),
    ]
    assert sorted(model.calls[0]) == [1, 2, 3, 4, 5]


def test_no_window_is_examined_when_the_search_is_off() -> None:
    model = ModelStandIn()
    windows = [make_window(0, make_clip(0), make_clip(1))]

    cut = cut_at_language_changes(model, windows, Listener(), LanguageChanges.OFF)

    assert cut.parts == windows
    assert model.calls == []
