"""Where the language changes in a window, and its parts of one language each: Qwen3-ASR keeps to one."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise

import msgspec

from shared.audio_format import SAMPLE_RATE_HZ
from shared.transcripts import TranscriptWarning, WarningCode
from worker.engines.protocol import Samples, Span, Window, WindowTranscript

# From less than a second of speech the miniature guesses 17 % of languages wrong, from one to two seconds
# 7 %, from more 2 %. To the speech comes the silence around it, some 0.7 s.
MIN_STRETCH = int(1.5 * SAMPLE_RATE_HZ)
SURE_STRETCH = int(2.5 * SAMPLE_RATE_HZ)

_UNCUT = (
    "The speech of {:.2f} s to {:.2f} s may be in {}, and its text wrong or translated: "
    "it was decoded in one with that around it, which is in {}."
)


class Stretch(msgspec.Struct, frozen=True):
    """Speech between two pauses of a window, in the window's own samples, and Qwen's name of its language.

    Without a name it was not asked for, or the model heard no speech.
    """

    start: int
    end: int
    language: str | None = None

    @property
    def length(self) -> int:
        """How many samples it has."""
        return self.end - self.start

    def read(self, window: Window) -> Samples:
        """Its samples."""
        return window.samples[self.start : self.end]


class CutWindows(msgspec.Struct, frozen=True):
    """The parts of some windows, each with the index of its window, and warnings by that index."""

    parts: Sequence[Window]
    warnings: dict[int, tuple[TranscriptWarning, ...]] = {}

    def warn(
        self, windows: Sequence[Window], transcripts: Iterable[WindowTranscript]
    ) -> list[WindowTranscript]:
        """The transcripts of `windows` with the warnings that belong to them."""
        return [
            msgspec.structs.replace(
                transcript, warnings=(*transcript.warnings, *self.warnings.get(window.index, ()))
            )
            for window, transcript in zip(windows, transcripts, strict=True)
        ]


def find_stretches(window: Window) -> list[Stretch]:
    """What lies between the pauses of `window`; what is too short to ask about goes with a neighbour."""
    bounds = (0, *window.pauses, len(window.samples))
    stretches = [Stretch(start, end) for start, end in pairwise(bounds)]
    while len(stretches) > 1:
        number, shortest = min(enumerate(stretches), key=lambda numbered: numbered[1].length)
        if shortest.length >= MIN_STRETCH:
            break
        sides = [side for side in (number - 1, number) if 0 <= side < len(stretches) - 1]
        first = min(sides, key=lambda side: stretches[side].length + stretches[side + 1].length)
        stretches[first : first + 2] = [Stretch(stretches[first].start, stretches[first + 1].end)]
    return stretches


def name_stretches(stretches: Iterable[Stretch], languages: Iterator[str | None]) -> list[Stretch]:
    """The stretches with the next of `languages` each."""
    return [Stretch(stretch.start, stretch.end, next(languages)) for stretch in stretches]


def cut_by_language(
    window: Window, stretches: Sequence[Stretch], warnings: Sequence[TranscriptWarning] = ()
) -> CutWindows:
    """Cut `window` where the languages of its `stretches` change; where that is in doubt, warn instead.

    `warnings` of the stretches are warnings of the window.
    """
    runs = _join_equals(_fill_unknown(stretches))
    doubts = _find_doubtful(runs)
    parts = _join_equals(
        Stretch(run.start, run.end, before.language if run in doubts else run.language)
        for before, run in pairwise([runs[0], *runs])
    )
    cut = [slice_window(window, part.start, part.end) for part in parts]
    doubted = [_describe(window, doubt, around) for around, doubt in pairwise(runs) if doubt in doubts]
    return CutWindows(cut, {window.index: (*warnings, *doubted)})


def slice_window(window: Window, start: int, end: int) -> Window:
    """The samples `start` to `end` of `window` as a part of it; the last part has its `end_sample`."""
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


def _fill_unknown(stretches: Sequence[Stretch]) -> list[Stretch]:
    """The stretches with a language each: in doubt that of the one before, at the beginning the first."""
    language = next((stretch.language for stretch in stretches if stretch.language), None)
    filled = []
    for stretch in stretches:
        language = stretch.language or language
        filled.append(Stretch(stretch.start, stretch.end, language))
    return filled


def _join_equals(stretches: Iterable[Stretch]) -> list[Stretch]:
    runs = []
    for language, equal in groupby(stretches, key=lambda stretch: stretch.language):
        first, *more = equal
        runs.append(Stretch(first.start, more[-1].end if more else first.end, language))
    return runs


def _find_doubtful(runs: Sequence[Stretch]) -> list[Stretch]:
    """What is short, and shorter than what surrounds it in one other language: more often a wrong guess."""
    return [
        run
        for before, run, after in zip(runs, runs[1:], runs[2:], strict=False)
        if before.language == after.language and run.length < min(SURE_STRETCH, before.length, after.length)
    ]


def _describe(window: Window, doubt: Stretch, around: Stretch) -> TranscriptWarning:
    part = slice_window(window, doubt.start, doubt.end)
    start_s, end_s = part.spans[0].start / SAMPLE_RATE_HZ, part.spans[-1].end / SAMPLE_RATE_HZ
    message = _UNCUT.format(start_s, end_s, doubt.language, around.language)
    return TranscriptWarning(WarningCode.LANGUAGE_CHANGE, message, start_s, end_s)
