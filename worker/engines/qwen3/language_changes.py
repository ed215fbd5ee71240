"""The search for language changes in windows, before they are decoded.

The model names the language of each speech region, and windows are cut where it changes. The text would show
a change too late: translated speech reads well, and some of it is published already.
"""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from shared.audio_format import SAMPLE_RATE_HZ
from shared.transcripts import TranscriptWarning, WarningCode
from worker.audio.window_plan import find_quietest
from worker.engines.catalog import LanguageChanges
from worker.engines.protocol import Window
from worker.engines.qwen3.inputs import Clip
from worker.engines.qwen3.language_detection import LanguageDetector
from worker.engines.qwen3.language_regions import (
    MIN_REGION_SAMPLES,
    SURE_REGION_SAMPLES,
    CutWindows,
    SpeechRegion,
    cut_by_language,
    find_regions,
    name_regions,
)
from worker.engines.qwen3.token_generator import TokenGenerator

DetectLanguages = Callable[[Sequence[Clip]], Sequence[str | None]]
"""A call that returns Qwen's name of the language in each clip, None without speech."""

# Memory suffices for as many samples as decoding takes, and always for one window of 30 s.
_MIN_BATCH_SAMPLES = 30 * SAMPLE_RATE_HZ
# Two ends that are each long enough for a sure detection.
_MIN_SEARCHED_SAMPLES = 2 * SURE_REGION_SAMPLES
# The samples of one level, among which the quietest is chosen.
_LEVEL_SAMPLES = 512

_CUT = (
    "The language changes from {} to {} near {:.2f} s, without a pause: words next to the change may be "
    "wrong or missing."
)
_UNCUT = (
    "The speech of {:.2f} s to {:.2f} s may change from {} to {}, and its text be wrong or translated: "
    "no moment was found to cut it at."
)


def cut_at_language_changes(
    generator: TokenGenerator,
    windows: Sequence[Window],
    changes: Sequence[LanguageChanges],
    is_stopped: Callable[[], bool],
) -> list[CutWindows]:
    """Return the parts of each window, cut at the language changes that its value of `changes` searches for.

    `pauses` detects the language in the middle of each region, in windows with more than one. `always`
    detects both ends of long regions and searches between them if they differ. Clips of all windows are
    detected at once.

    Raises:
        DecodingStopped: `is_stopped` returned true.
        OutOfDeviceMemory: not even one region fits into memory.
    """
    found = [_choose_clips(window, chosen) for window, chosen in zip(windows, changes, strict=True)]
    clips = [
        clip.take_middle(window)
        for window, regions in zip(windows, found, strict=True)
        for ends in regions
        for clip in ends
    ]
    decoded_samples = len(windows) * max(len(window.samples) for window in windows)
    max_samples = max(_MIN_BATCH_SAMPLES, decoded_samples)
    detector = LanguageDetector(generator, is_stopped, max_samples=max_samples)
    languages = iter(detector.detect(clips))
    return [
        _cut_window(window, [name_regions(ends, languages) for ends in regions], detector.detect)
        for window, regions in zip(windows, found, strict=True)
    ]


def _choose_clips(window: Window, changes: LanguageChanges) -> list[tuple[SpeechRegion, ...]]:
    """Return the clips to detect for each region, or an empty list if there can be only one language."""
    if changes is LanguageChanges.OFF:
        return []
    is_always = changes is LanguageChanges.ALWAYS
    clips = [find_ends(region) if is_always else (region,) for region in find_regions(window)]
    return clips if sum(map(len, clips)) > 1 else []


def _cut_window(
    window: Window, regions: Sequence[Sequence[SpeechRegion]], detect: DetectLanguages
) -> CutWindows:
    """Cut `window` by the languages detected at the ends of each of its `regions`."""
    if not regions:
        return CutWindows([window])
    splits = [split_region(window, ends, detect) for ends in regions]
    return cut_by_language(
        window,
        [region for split in splits for region in split.regions],
        [warning for split in splits for warning in split.warnings],
    )


class RegionSplit(msgspec.Struct, frozen=True):
    """A speech region in parts of one language each, and warnings about the cut."""

    regions: tuple[SpeechRegion, ...]
    warnings: tuple[TranscriptWarning, ...] = ()


def find_ends(region: SpeechRegion) -> tuple[SpeechRegion, ...]:
    """Return the two ends of a long region, or a short region as it is."""
    if region.length < _MIN_SEARCHED_SAMPLES:
        return (region,)
    return (
        SpeechRegion(region.start, region.start + SURE_REGION_SAMPLES),
        SpeechRegion(region.end - SURE_REGION_SAMPLES, region.end),
    )


def split_region(window: Window, ends: Sequence[SpeechRegion], detect: DetectLanguages) -> RegionSplit:
    """Cut the region with these named `ends` where its language changes, with a warning.

    A cut without a pause may miss the change by a word or two (with the miniature by 0.7 s in the median of
    76 cuts), so it always brings a warning. The region is cut only into parts that are long enough for
    detection, and that have the languages of their ends when detected as a whole. Otherwise there is only a
    warning.
    """
    head, tail = ends[0], ends[-1]
    whole = SpeechRegion(head.start, tail.end, head.language or tail.language)
    if head.language == tail.language or not (head.language and tail.language):
        return RegionSplit((whole,))
    start_s, end_s = whole.locate_s(window)
    change = _find_change(window, head, tail, detect)
    parts: tuple[SpeechRegion, ...] = (
        SpeechRegion(head.start, change, head.language),
        SpeechRegion(change, tail.end, tail.language),
    )
    if all(part.length >= MIN_REGION_SAMPLES for part in parts) and _is_confirmed(window, parts, detect):
        _, change_s = parts[0].locate_s(window)
        message = _CUT.format(head.language, tail.language, change_s)
    else:
        message = _UNCUT.format(start_s, end_s, head.language, tail.language)
        parts = (whole,)
    return RegionSplit(parts, (TranscriptWarning(WarningCode.LANGUAGE_CHANGE, message, start_s, end_s),))


def _is_confirmed(window: Window, parts: Sequence[SpeechRegion], detect: DetectLanguages) -> bool:
    """Return whether each part, detected as a whole, is in its language."""
    return list(detect([part.take(window) for part in parts])) == [part.language for part in parts]


def _find_change(window: Window, head: SpeechRegion, tail: SpeechRegion, detect: DetectLanguages) -> int:
    """Return the quietest moment between the languages of `head` and `tail`, found by bisection."""
    first, last = head.middle, tail.middle
    while last - first > SURE_REGION_SAMPLES:
        start = (first + last - SURE_REGION_SAMPLES) // 2
        clip = SpeechRegion(start, start + SURE_REGION_SAMPLES)
        (language,) = detect([clip.take(window)])
        if language == head.language:
            first = clip.middle
        elif language == tail.language:
            last = clip.middle
        else:
            break
    return _find_quietest(window, first, last)


def _find_quietest(window: Window, first: int, last: int) -> int:
    between = window.samples[first:last]
    levels = np.square(between[: len(between) // _LEVEL_SAMPLES * _LEVEL_SAMPLES])
    loudness = levels.reshape(-1, _LEVEL_SAMPLES).mean(axis=1)
    quietest = find_quietest(loudness, 0, len(loudness) - 1)
    return first + quietest * _LEVEL_SAMPLES + _LEVEL_SAMPLES // 2
