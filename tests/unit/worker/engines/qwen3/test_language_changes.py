"""Language changes are searched for as the setting says, also in speech without a pause, with warnings."""

from collections.abc import Sequence

import numpy as np
import pytest

from shared.audio_format import SAMPLE_RATE_HZ
from shared.transcripts import WarningCode
from tests.support.qwen3_stand_in import ENGLISH, ModelStandIn
from worker.engines.catalog import LanguageChanges
from worker.engines.protocol import Samples, Span, Window
from worker.engines.qwen3.inputs import Clip
from worker.engines.qwen3.language_changes import (
    RegionSplit,
    cut_at_language_changes,
    find_ends,
    split_region,
)
from worker.engines.qwen3.language_regions import CutWindows, SpeechRegion, name_regions

GERMAN = "language German<asr_text>"
QUIET = 0.01
LOUDNESS = {"English": 0.5, "German": -0.5, None: 0.0}


def speak(language: str | None, seconds: float) -> Samples:
    """Samples that `Ear` detects as this language."""
    return np.full(int(seconds * SAMPLE_RATE_HZ), LOUDNESS[language], np.float32)


def make_window(*speech: Samples) -> Window:
    """A window from second 100 on, without pauses."""
    samples = np.concatenate(speech)
    start = 100 * SAMPLE_RATE_HZ
    return Window(3, (Span(start, start + len(samples)),), samples, start + len(samples))


def make_clip(number: int, *, seconds: float = 2) -> Samples:
    return np.full(int(seconds * SAMPLE_RATE_HZ), number, np.float32)


def make_paused_window(index: int, *clips: Samples) -> Window:
    """A window with a pause between each two clips."""
    samples = np.concatenate(clips)
    pauses = np.cumsum([len(clip) for clip in clips])[:-1]
    return Window(
        index, (Span(0, len(samples)),), samples, len(samples), tuple(int(pause) for pause in pauses)
    )


class Ear:
    """A detector that names the prevailing language of a clip, and records the clips."""

    def __init__(self) -> None:
        self.clips: list[Samples] = []

    def __call__(self, clips: Sequence[Clip]) -> list[str | None]:
        read = [clip.read() for clip in clips]
        self.clips += read
        return [self._name(samples) for samples in read]

    def _name(self, clip: Samples) -> str | None:
        loudness = float(clip.mean())
        return None if abs(loudness) < QUIET else "English" if loudness > 0 else "German"


class Doubter(Ear):
    """A detector that finds German in short clips only."""

    def _name(self, clip: Samples) -> str | None:
        return "English" if len(clip) > 3 * SAMPLE_RATE_HZ else super()._name(clip)


def read(window: Window, ear: Ear) -> RegionSplit:
    ends = find_ends(SpeechRegion(0, len(window.samples)))
    heard = iter(ear([end.take(window) for end in ends]))
    return split_region(window, name_regions(ends, heard), ear)


@pytest.mark.parametrize(
    ("seconds", "asked_s"), [(1.0, [1.0]), (4.9, [4.9]), (5.0, [2.5, 2.5]), (30.0, [2.5, 2.5])]
)
def test_only_the_ends_of_a_long_region_are_detected(seconds: float, asked_s: list[float]) -> None:
    window, ear = make_window(speak("English", seconds)), Ear()

    split = read(window, ear)

    assert split == RegionSplit((SpeechRegion(0, len(window.samples), "English"),))
    assert [len(clip) / SAMPLE_RATE_HZ for clip in ear.clips] == asked_s


@pytest.mark.parametrize("first_s", [2.5, 4.0, 12.0, 20.0])
@pytest.mark.parametrize("second_s", [3.0, 10.0])
def test_speech_is_cut_at_the_quietest_moment_where_its_language_changes(
    first_s: float, second_s: float
) -> None:
    window = make_window(speak("German", first_s), speak(None, 0.2), speak("English", second_s))

    split = read(window, Ear())

    first, second = split.regions
    assert (first.language, second.language) == ("German", "English")
    assert (first.start, second.end) == (0, len(window.samples))
    assert first.end == second.start
    assert first.end / SAMPLE_RATE_HZ == pytest.approx(first_s + 0.1, abs=0.1)


def test_a_cut_without_a_pause_is_warned_of_with_its_moment() -> None:
    split = read(make_window(speak("German", 4), speak(None, 0.2), speak("English", 3)), Ear())

    (warning,) = split.warnings
    assert (warning.code, warning.start_s, warning.end_s) == (WarningCode.LANGUAGE_CHANGE, 100, 107.2)
    assert "from German to English near 104.1" in warning.message


def test_parts_not_confirmed_as_a_whole_are_not_cut_but_warned_of() -> None:
    window = make_window(speak("English", 4), speak(None, 0.2), speak("German", 4))

    split = read(window, Doubter())

    assert split.regions == (SpeechRegion(0, len(window.samples), "English"),)
    (warning,) = split.warnings
    assert warning.code == WarningCode.LANGUAGE_CHANGE
    assert "may change from English to German" in warning.message


def test_a_part_too_short_to_detect_is_not_cut_off() -> None:
    window = make_window(speak("English", 4), speak(None, 0.2), speak("German", 1.35))

    split = read(window, Ear())

    assert len(split.regions) == 1
    assert len(split.warnings) == 1


@pytest.mark.parametrize("silent_first", [True, False])
def test_an_end_without_speech_takes_the_language_of_the_other_end(*, silent_first: bool) -> None:
    clips = [speak(None, 3), speak("German", 3)]
    window = make_window(*(clips if silent_first else reversed(clips)))

    assert read(window, Ear()) == RegionSplit((SpeechRegion(0, len(window.samples), "German"),))


def cut_all(model: ModelStandIn, windows: Sequence[Window], changes: LanguageChanges) -> CutWindows:
    """Return all parts and warnings, cut by one mode."""
    cuts = cut_at_language_changes(model, windows, [changes] * len(windows), lambda: False)
    warnings = {index: found for cut in cuts for index, found in cut.warnings.items()}
    return CutWindows([part for cut in cuts for part in cut.parts], warnings)


def test_short_windows_without_pauses_are_not_examined() -> None:
    model = ModelStandIn()
    windows = [make_paused_window(0, make_clip(0)), make_paused_window(1, make_clip(1))]

    cut = cut_all(model, windows, LanguageChanges.ALWAYS)

    assert [part.index for part in cut.parts] == [0, 1]
    assert model.calls == []


def test_both_ends_of_a_long_window_without_pauses_are_examined() -> None:
    model = ModelStandIn(ENGLISH, GERMAN, GERMAN)
    samples = np.concatenate([make_clip(number, seconds=4) for number in range(2)])
    mixed = Window(4, (Span(0, len(samples)),), samples, len(samples))
    plain = make_paused_window(5, make_clip(2, seconds=6))

    cut = cut_all(model, [mixed, plain], LanguageChanges.ALWAYS)

    assert [part.index for part in cut.parts] == [4, 4, 5]
    assert [len(warnings) for warnings in cut.warnings.values()] == [1, 0]
    assert sorted(model.calls[0]) == [0, 1, 2, 2]


def test_mode_pauses_does_not_examine_speech_without_a_pause() -> None:
    model = ModelStandIn(ENGLISH, GERMAN, ENGLISH, GERMAN)
    samples = np.concatenate([make_clip(number, seconds=4) for number in range(2)])
    mixed = Window(4, (Span(0, len(samples)),), samples, len(samples))
    paused = make_paused_window(5, make_clip(2, seconds=6), make_clip(3, seconds=6))

    cut = cut_all(model, [mixed, paused], LanguageChanges.PAUSES)

    assert [part.index for part in cut.parts] == [4, 5, 5]
    assert not any(cut.warnings.values())
    assert model.calls == [[2, 3]]


@pytest.mark.parametrize("changes", [LanguageChanges.PAUSES, LanguageChanges.ALWAYS])
def test_windows_are_cut_where_the_detected_language_changes(changes: LanguageChanges) -> None:
    model = ModelStandIn("", ENGLISH, GERMAN, GERMAN, ENGLISH, ENGLISH)
    windows = [
        make_paused_window(4, make_clip(0)),
        make_paused_window(5, make_clip(1), make_clip(2), make_clip(3)),
        make_paused_window(6, make_clip(4), make_clip(5)),
    ]

    cut = cut_all(model, windows, changes)

    assert [(part.index, set(part.samples)) for part in cut.parts] == [
        (4, {0}),
        (5, {1}),
        (5, {2, 3}),
        (6, {4, 5}),
    ]
    assert sorted(model.calls[0]) == [1, 2, 3, 4, 5]


def test_no_window_is_examined_when_the_search_is_off() -> None:
    model = ModelStandIn()
    windows = [make_paused_window(0, make_clip(0), make_clip(1))]

    cut = cut_all(model, windows, LanguageChanges.OFF)

    assert cut.parts == windows
    assert model.calls == []
