"""The transcripts of windows, composed from the texts that Qwen3-ASR generated for their parts."""

from collections.abc import Mapping, Sequence

import msgspec

from shared.audio_format import SAMPLE_RATE_HZ
from shared.text.sentences import cut_sentences
from shared.transcripts import (
    Segment,
    TokenCounts,
    TranscriptWarning,
    WarningCode,
    WindowTranscript,
    Word,
    sum_counts,
)
from worker.engines.protocol import Window
from worker.engines.qwen3.finish_reason import FinishReason

_FAULTS = {
    FinishReason.LENGTH: (
        WarningCode.TRUNCATED,
        "The text of {} may be incomplete: the model did not finish it within its token limit.",
    ),
    FinishReason.REPETITION: (
        WarningCode.REPETITION,
        "The text of {} may be incomplete: the model repeated itself, and the repeats were cut.",
    ),
    FinishReason.STUCK: (
        WarningCode.REPETITION,
        "The text of {} may be incomplete: the model kept repeating itself and was stopped.",
    ),
    FinishReason.CONTEXT_ECHO: (
        WarningCode.CONTEXT_ECHO,
        "The text of {} was decoded without the prompt, because the model began to repeat the prompt.",
    ),
}


class DecodedPart(msgspec.Struct, frozen=True):
    """The text of a window or of a part of one; a part has the index of its window.

    `language` is an ISO code; `faults` are the ones that no repair removed. `words` are all words of the
    text, or empty.
    """

    window: Window
    text: str
    language: str | None
    faults: tuple[FinishReason, ...] = ()
    words: tuple[Word, ...] = ()
    token_counts: TokenCounts | None = None


def compose_transcripts(
    windows: Sequence[Window],
    parts: Sequence[DecodedPart],
    warnings: Mapping[int, Sequence[TranscriptWarning]],
) -> list[WindowTranscript]:
    """Return the transcript of each window, from its `parts` in order and more `warnings` by window index."""
    return [
        _compose_window(
            [part for part in parts if part.window.index == window.index], warnings.get(window.index, ())
        )
        for window in windows
    ]


def _compose_window(parts: Sequence[DecodedPart], warnings: Sequence[TranscriptWarning]) -> WindowTranscript:
    faults = [_describe_fault(part, fault) for part in parts for fault in part.faults]
    return WindowTranscript(
        segments=tuple(segment for part in parts if part.text for segment in _make_segments(part)),
        warnings=(*faults, *warnings),
        # Only an echo of the prompt costs no speech.
        is_complete=all(fault is FinishReason.CONTEXT_ECHO for part in parts for fault in part.faults),
        token_counts=sum_counts(part.token_counts for part in parts),
    )


def _make_segments(part: DecodedPart) -> list[Segment]:
    if part.words:
        return cut_sentences(part.text, part.words, part.language)
    start_s, end_s = find_bounds_s(part.window)
    return [Segment(round(start_s, 3), round(end_s, 3), part.text, part.language)]


def _describe_fault(part: DecodedPart, fault: FinishReason) -> TranscriptWarning:
    start_s, end_s = find_bounds_s(part.window)
    code, message = _FAULTS[fault]
    return TranscriptWarning(code, message.format(f"{start_s:.2f} s to {end_s:.2f} s"), start_s, end_s)


def find_bounds_s(window: Window) -> tuple[float, float]:
    """Return the start and end of the window in the upload, in seconds."""
    return window.spans[0].start / SAMPLE_RATE_HZ, window.spans[-1].end / SAMPLE_RATE_HZ
