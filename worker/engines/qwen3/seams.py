"""Where the language changes in speech without a pause: its ends are asked about, then what lies between."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from shared.audio_format import SAMPLE_RATE_HZ
from shared.transcripts import TranscriptWarning, WarningCode
from worker.audio.window_plan import find_quietest
from worker.engines.protocol import Samples, Window
from worker.engines.qwen3.languages import MIN_STRETCH, SURE_STRETCH, Stretch, slice_window

AskLanguages = Callable[[Sequence[Samples]], Sequence[str | None]]
"""Answers Qwen's name of the language in each clip, None where it hears none."""

# Two ends long enough to be told apart from a wrong guess.
_MIN_UNBROKEN = 2 * SURE_STRETCH
# As many samples as one of the levels has between which the quietest is chosen.
_LEVEL_SAMPLES = 512

_CUT = (
    "The language changes from {} to {} near {:.2f} s, without a pause: words next to the change may be "
    "wrong or missing."
)
_UNCUT = (
    "The speech of {:.2f} s to {:.2f} s may change from {} to {}, and its text be wrong or translated: "
    "no moment was found to cut it at."
)


class Reading(msgspec.Struct, frozen=True):
    """A stretch of speech in parts that have a language each, and what is to be said of that."""

    stretches: tuple[Stretch, ...]
    warnings: tuple[TranscriptWarning, ...] = ()


def find_ends(stretch: Stretch) -> tuple[Stretch, ...]:
    """What to ask about to know the language of `stretch`: its two ends, or all of it where it is short."""
    if stretch.length < _MIN_UNBROKEN:
        return (stretch,)
    return (
        Stretch(stretch.start, stretch.start + SURE_STRETCH),
        Stretch(stretch.end - SURE_STRETCH, stretch.end),
    )


def read_stretch(window: Window, ends: Sequence[Stretch], ask: AskLanguages) -> Reading:
    """The stretch of which `ends` are named, cut where its language changes; warns of it if it does.

    It is cut only into parts that are not too short to tell, and that have the languages of their ends when
    asked about in whole.
    """
    head, tail = ends[0], ends[-1]
    if head.language == tail.language or not (head.language and tail.language):
        return Reading((Stretch(head.start, tail.end, head.language or tail.language),))
    change = _find_change(window, head, tail, ask)
    parts = (Stretch(head.start, change, head.language), Stretch(change, tail.end, tail.language))
    if all(part.length >= MIN_STRETCH for part in parts) and _is_heard_in(window, parts, ask):
        return Reading(parts, (_warn_of_cut(window, *parts),))
    whole = Stretch(head.start, tail.end, head.language)
    return Reading((whole,), (_warn_of_doubt(window, whole, tail),))


def _is_heard_in(window: Window, parts: Sequence[Stretch], ask: AskLanguages) -> bool:
    """Whether each part, in whole, is in the language that it is said to have."""
    return list(ask([part.read(window) for part in parts])) == [part.language for part in parts]


def _find_change(window: Window, head: Stretch, tail: Stretch, ask: AskLanguages) -> int:
    """The quietest moment where the language of `head` may become that of `tail`."""
    first, last = _find_middle(head), _find_middle(tail)
    while last - first > SURE_STRETCH:
        start = (first + last - SURE_STRETCH) // 2
        clip = Stretch(start, start + SURE_STRETCH)
        (language,) = ask([clip.read(window)])
        if language == head.language:
            first = _find_middle(clip)
        elif language == tail.language:
            last = _find_middle(clip)
        else:
            break
    return _find_quietest(window, first, last)


def _find_quietest(window: Window, first: int, last: int) -> int:
    between = window.samples[first:last]
    levels = np.square(between[: len(between) // _LEVEL_SAMPLES * _LEVEL_SAMPLES])
    loudness = levels.reshape(-1, _LEVEL_SAMPLES).mean(axis=1)
    quietest = find_quietest(loudness, 0, len(loudness) - 1)
    return first + quietest * _LEVEL_SAMPLES + _LEVEL_SAMPLES // 2


def _find_middle(stretch: Stretch) -> int:
    return (stretch.start + stretch.end) // 2


def _warn_of_cut(window: Window, before: Stretch, after: Stretch) -> TranscriptWarning:
    start_s, change_s = _locate(window, before)
    _, end_s = _locate(window, after)
    message = _CUT.format(before.language, after.language, change_s)
    return TranscriptWarning(WarningCode.LANGUAGE_CHANGE, message, start_s, end_s)


def _warn_of_doubt(window: Window, whole: Stretch, tail: Stretch) -> TranscriptWarning:
    start_s, end_s = _locate(window, whole)
    message = _UNCUT.format(start_s, end_s, whole.language, tail.language)
    return TranscriptWarning(WarningCode.LANGUAGE_CHANGE, message, start_s, end_s)


def _locate(window: Window, stretch: Stretch) -> tuple[float, float]:
    """Where in the upload it begins and ends, in seconds."""
    spans = slice_window(window, stretch.start, stretch.end).spans
    return spans[0].start / SAMPLE_RATE_HZ, spans[-1].end / SAMPLE_RATE_HZ
