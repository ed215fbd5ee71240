"""The speech regions of a window and their languages, and windows cut into parts of one language.

Qwen3-ASR keeps to one language per window, and translates or mangles speech in another one.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise

import msgspec

from shared.audio_format import SAMPLE_RATE_HZ
from shared.transcripts import TranscriptWarning, WarningCode
from worker.engines.protocol import Span, Window
from worker.engines.qwen3.inputs import Clip
from worker.engines.qwen3.transcripts import find_bounds_s

# Measured with the miniature: it names the wrong language for 17 % of speech under a second, 7 % of one to
# two seconds, 2 % of more. These lengths include the silence around the speech, about 0.7 s.
MIN_REGION_SAMPLES = int(1.5 * SAMPLE_RATE_HZ)
SURE_REGION_SAMPLES = int(2.5 * SAMPLE_RATE_HZ)

_DOUBT = (
    "The speech of {:.2f} s to {:.2f} s may be in {}, and its text wrong or translated: "
    "it was decoded together with the speech around it, which is in {}."
)


class SpeechRegion(msgspec.Struct, frozen=True):
    """Speech between two pauses of a window, in samples of the window, and Qwen's name of its language.

    The language is None if it was not detected, or if the model found no speech.
    """

    start: int
    end: int
    language: str | None = None

    @property
    def length(self) -> int:
        """The number of samples."""
        return self.end - self.start

    @property
    def middle(self) -> int:
        """The sample in the middle."""
        return (self.start + self.end) // 2

    def take(self, window: Window) -> Clip:
        """Return the region as a clip of the window."""
        return Clip(window.samples, self.start, self.end)

    def take_middle(self, window: Window) -> Clip:
        """Return the middle of the region: as many samples as a sure detection needs, or fewer."""
        spare = max(0, self.length - SURE_REGION_SAMPLES) // 2
        return Clip(window.samples, self.start + spare, self.end - spare)

    def locate_s(self, window: Window) -> tuple[float, float]:
        """Return the start and end of the region in the upload, in seconds."""
        return find_bounds_s(slice_window(window, self.start, self.end))


class CutWindows(msgspec.Struct, frozen=True):
    """The parts of some windows, each with the index of its window, and warnings by that index."""

    parts: Sequence[Window]
    warnings: dict[int, tuple[TranscriptWarning, ...]] = {}


def find_regions(window: Window) -> list[SpeechRegion]:
    """Return the regions between the pauses of `window`; a region too short to detect joins a neighbour."""
    bounds = (0, *window.pauses, len(window.samples))
    regions = [SpeechRegion(start, end) for start, end in pairwise(bounds)]
    while len(regions) > 1:
        number, shortest = min(enumerate(regions), key=lambda numbered: numbered[1].length)
        if shortest.length >= MIN_REGION_SAMPLES:
            break
        sides = [side for side in (number - 1, number) if 0 <= side < len(regions) - 1]
        first = min(sides, key=lambda side: regions[side].length + regions[side + 1].length)
        regions[first : first + 2] = [SpeechRegion(regions[first].start, regions[first + 1].end)]
    return regions


def name_regions(regions: Iterable[SpeechRegion], languages: Iterator[str | None]) -> list[SpeechRegion]:
    """Return the regions with the next of `languages` each."""
    return [SpeechRegion(region.start, region.end, next(languages)) for region in regions]


def cut_by_language(
    window: Window, regions: Sequence[SpeechRegion], warnings: Sequence[TranscriptWarning] = ()
) -> CutWindows:
    """Cut `window` where the languages of its `regions` change, or warn where a change is in doubt.

    The result also has the `warnings` of the regions.
    """
    runs = _join_equals(_fill_unknown(regions))
    doubts = _find_doubtful(runs)
    parts = _join_equals(
        SpeechRegion(run.start, run.end, before.language if run in doubts else run.language)
        for before, run in pairwise([runs[0], *runs])
    )
    cut = [slice_window(window, part.start, part.end) for part in parts]
    doubted = [_describe_doubt(window, doubt, around) for around, doubt in pairwise(runs) if doubt in doubts]
    return CutWindows(cut, {window.index: (*warnings, *doubted)})


def slice_window(window: Window, start: int, end: int) -> Window:
    """Return the samples `start`..`end` of `window` as a part of it; the last part has its `end_sample`."""
    if (start, end) == (0, len(window.samples)):
        return window
    spans, position = [], 0
    for span in window.spans:
        first, last = max(start - position, 0), min(end - position, span.length)
        if first < last:
            spans.append(Span(span.start + first, span.start + last))
        position += span.length
    return Window(
        index=window.index,
        spans=tuple(spans),
        samples=window.samples[start:end],
        end_sample=window.end_sample if end == len(window.samples) else spans[-1].end,
        pauses=tuple(pause - start for pause in window.pauses if start < pause < end),
    )


def _fill_unknown(regions: Sequence[SpeechRegion]) -> list[SpeechRegion]:
    """Give regions without a language the one before, or at the beginning the first one."""
    language = next((region.language for region in regions if region.language), None)
    filled = []
    for region in regions:
        language = region.language or language
        filled.append(SpeechRegion(region.start, region.end, language))
    return filled


def _join_equals(regions: Iterable[SpeechRegion]) -> list[SpeechRegion]:
    runs = []
    for language, equal in groupby(regions, key=lambda region: region.language):
        first, *more = equal
        runs.append(SpeechRegion(first.start, more[-1].end if more else first.end, language))
    return runs


def _find_doubtful(runs: Sequence[SpeechRegion]) -> list[SpeechRegion]:
    """Return short runs between two longer ones of one other language: most are detected wrongly."""
    return [
        run
        for before, run, after in zip(runs, runs[1:], runs[2:], strict=False)
        if before.language == after.language
        and run.length < min(SURE_REGION_SAMPLES, before.length, after.length)
    ]


def _describe_doubt(window: Window, doubt: SpeechRegion, around: SpeechRegion) -> TranscriptWarning:
    start_s, end_s = doubt.locate_s(window)
    message = _DOUBT.format(start_s, end_s, doubt.language, around.language)
    return TranscriptWarning(WarningCode.LANGUAGE_CHANGE, message, start_s, end_s)
