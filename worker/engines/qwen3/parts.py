"""What Qwen3-ASR said in parts of windows, made into transcripts of the windows."""

from collections.abc import Sequence

import msgspec

from shared.audio_format import SAMPLE_RATE_HZ
from shared.text.sentences import cut_sentences
from shared.transcripts import Segment, TokenCounts, TranscriptWarning, WarningCode, Word, sum_counts
from worker.engines.protocol import Window, WindowTranscript
from worker.engines.qwen3.row import Ending

_FAULTS = {
    Ending.LIMIT: (
        WarningCode.TRUNCATED,
        "The text of {} may be incomplete: the model did not come to its end.",
    ),
    Ending.LOOP: (
        WarningCode.REPETITION,
        "The text of {} may be incomplete: the model repeated itself, and the repeats were cut.",
    ),
    Ending.CUT: (
        WarningCode.REPETITION,
        "The text of {} may be incomplete: the model repeated itself again and again, and was stopped.",
    ),
    Ending.ECHO: (
        WarningCode.CONTEXT_ECHO,
        "The text of {} was decoded without the prompt, which the model had begun to say back.",
    ),
}

# Behind these, speech may be missing from the text.
_LOSING = {Ending.LIMIT, Ending.LOOP, Ending.CUT}


class DecodedPart(msgspec.Struct, frozen=True):
    """What was said in a window, or in a part of one, which has the index of the whole.

    `language` is an ISO code; `faults` are what went wrong and could not be repaired. The `words` are those
    of the whole text, or none.
    """

    window: Window
    text: str
    language: str | None
    faults: tuple[Ending, ...] = ()
    words: tuple[Word, ...] = ()
    token_counts: TokenCounts | None = None


def compose_transcripts(windows: Sequence[Window], parts: Sequence[DecodedPart]) -> list[WindowTranscript]:
    """The transcript of each of the `windows`, from `parts` in order."""
    return [
        _compose_window([part for part in parts if part.window.index == window.index]) for window in windows
    ]


def _compose_window(parts: Sequence[DecodedPart]) -> WindowTranscript:
    return WindowTranscript(
        segments=tuple(segment for part in parts if part.text for segment in _make_segments(part)),
        warnings=tuple(_describe_fault(part, fault) for part in parts for fault in part.faults),
        is_complete=not any(_LOSING & set(part.faults) for part in parts),
        token_counts=sum_counts(part.token_counts for part in parts),
    )


def _make_segments(part: DecodedPart) -> list[Segment]:
    if part.words:
        return cut_sentences(part.text, part.words, part.language)
    start_s, end_s = find_bounds_s(part.window)
    return [Segment(round(start_s, 3), round(end_s, 3), part.text, part.language)]


def _describe_fault(part: DecodedPart, fault: Ending) -> TranscriptWarning:
    start_s, end_s = find_bounds_s(part.window)
    code, message = _FAULTS[fault]
    return TranscriptWarning(code, message.format(f"{start_s:.2f} s to {end_s:.2f} s"), start_s, end_s)


def find_bounds_s(window: Window) -> tuple[float, float]:
    """Where the window begins and ends in the upload, in seconds."""
    return window.spans[0].start / SAMPLE_RATE_HZ, window.spans[-1].end / SAMPLE_RATE_HZ
