"""Speech without a pause is cut where its language changes, and warned of; in doubt it is warned of alone."""

from collections.abc import Sequence

import numpy as np
import pytest

from shared.audio_format import SAMPLE_RATE_HZ
from shared.transcripts import WarningCode
from worker.engines.protocol import Samples, Span, Window
from worker.engines.qwen3.language_changes import RegionSplit, find_ends, split_region
from worker.engines.qwen3.language_regions import SpeechRegion, name_regions

QUIET = 0.01
LOUDNESS = {"English": 0.5, "German": -0.5, None: 0.0}


def speak(language: str | None, seconds: float) -> Samples:
    """Samples that `Ear` hears as this language."""
    return np.full(int(seconds * SAMPLE_RATE_HZ), LOUDNESS[language], np.float32)


def make_window(*speech: Samples) -> Window:
    """A window from second 100 on, without pauses."""
    samples = np.concatenate(speech)
    start = 100 * SAMPLE_RATE_HZ
    return Window(3, (Span(start, start + len(samples)),), samples, start + len(samples))


class Ear:
    """Names the language of which it hears most in a clip, and notes how much it was asked about."""

    def __init__(self) -> None:
        self.clips: list[Samples] = []

    def __call__(self, clips: Sequence[Samples]) -> list[str | None]:
        self.clips += clips
        return [self._name(clip) for clip in clips]

    def _name(self, clip: Samples) -> str | None:
        loudness = float(clip.mean())
        return None if abs(loudness) < QUIET else "English" if loudness > 0 else "German"


class Doubter(Ear):
    """Hears German in short clips alone."""

    def _name(self, clip: Samples) -> str | None:
        return "English" if len(clip) > 3 * SAMPLE_RATE_HZ else super()._name(clip)


def read(window: Window, ear: Ear) -> RegionSplit:
    ends = find_ends(SpeechRegion(0, len(window.samples)))
    heard = iter(ear([end.read(window) for end in ends]))
    return split_region(window, name_regions(ends, heard), ear)


@pytest.mark.parametrize(
    ("seconds", "asked_s"), [(1.0, [1.0]), (4.9, [4.9]), (5.0, [2.5, 2.5]), (30.0, [2.5, 2.5])]
)
def test_of_speech_that_can_hold_two_languages_the_ends_are_asked_about_and_no_more(
    seconds: float, asked_s: list[float]
) -> None:
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


def test_where_the_parts_are_not_heard_as_their_ends_were_it_is_only_warned() -> None:
    window = make_window(speak("English", 4), speak(None, 0.2), speak("German", 4))

    split = read(window, Doubter())

    assert split.regions == (SpeechRegion(0, len(window.samples), "English"),)
    (warning,) = split.warnings
    assert warning.code == WarningCode.LANGUAGE_CHANGE
    assert "may change from English to German" in warning.message


def test_a_part_too_short_to_tell_is_not_cut_off() -> None:
    window = make_window(speak("English", 4), speak(None, 0.2), speak("German", 1.35))

    split = read(window, Ear())

    assert len(split.regions) == 1
    assert len(split.warnings) == 1


@pytest.mark.parametrize("silent_first", [True, False])
def test_an_end_without_speech_is_in_the_language_of_the_other(*, silent_first: bool) -> None:
    clips = [speak(None, 3), speak("German", 3)]
    window = make_window(*(clips if silent_first else reversed(clips)))

    assert read(window, Ear()) == RegionSplit((SpeechRegion(0, len(window.samples), "German"),))
