"""Transcripts: words, segments, and the rules that join their texts."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from shared.audio_format import FROM_THE_START, AudioStart

# Languages written without spaces between words (ISO 639-1, and `yue` which has no such code).
UNSPACED_LANGUAGES = frozenset({"zh", "yue", "ja", "th", "lo", "km", "my", "bo"})


class Word(msgspec.Struct, frozen=True):
    """One spoken word; times in seconds from the start of the upload."""

    start_s: float
    end_s: float
    text: str


class SegmentDecoding(msgspec.Struct, frozen=True):
    """Decoding details of a segment in Whisper's terms, from engines that have them.

    `window_start_s` is the start in the upload of the audio that the engine decoded at once.
    """

    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    no_speech_prob: float
    window_start_s: float


class Segment(msgspec.Struct, frozen=True):
    """A piece of speech and its text; times in seconds from the start of the upload."""

    start_s: float
    end_s: float
    text: str
    language: str | None = None
    words: tuple[Word, ...] = ()
    decoding: SegmentDecoding | None = None

    @property
    def duration_s(self) -> float:
        """Return the length of the segment in seconds."""
        return self.end_s - self.start_s


class WarningCode(StrEnum):
    """The kind of possible error in a part of a transcript."""

    TRUNCATED = "truncated"  # the model hit its token limit: speech may be missing
    REPETITION = "repetition"  # the model repeated itself, and the repeats were cut
    CONTEXT_ECHO = "context_echo"  # the model repeated the prompt, so the text was decoded without it
    LANGUAGE_CHANGE = "language_change"  # without a pause: the text is cut there, or decoded as one
    TRAILING_DATA = "trailing_data"  # other media follow in the file, and are not read
    ENGINE_CHANGED = "engine_changed"  # decoded before another engine or model took the job over


class TranscriptWarning(msgspec.Struct, frozen=True):
    """A possible error between two times of the upload: a code for programs, a sentence for people."""

    code: WarningCode
    message: str
    start_s: float
    end_s: float


class Transcript(msgspec.Struct, frozen=True):
    """The text of one upload. `warnings` list possible errors in it.

    `is_complete` is false if speech may be missing from the text.
    """

    text: str
    language: str | None
    duration_s: float
    segments: tuple[Segment, ...]
    warnings: tuple[TranscriptWarning, ...] = ()
    is_complete: bool = True


class TokenCounts(msgspec.Struct, frozen=True):
    """The tokens that a model read and generated, over all generations for a text.

    The search for language changes is not counted.
    """

    text_input: int = 0
    audio_input: int = 0
    output: int = 0


class WindowTranscript(msgspec.Struct, frozen=True):
    """The transcript of one window. Its times are seconds of the upload, not of the window."""

    segments: tuple[Segment, ...]
    warnings: tuple[TranscriptWarning, ...] = ()
    is_complete: bool = True  # false if speech may be missing from the text
    token_counts: TokenCounts | None = None  # None if the engine does not count them


class FinishedWindow(WindowTranscript, frozen=True, kw_only=True):
    """The transcript of the window of index `window`; its job resumes at `resume_sample` (16 kHz).

    A job that resumes begins to read at `audio_start`. The window was one of `rows` in decoding at once.
    """

    window: int
    resume_sample: int
    audio_start: AudioStart = FROM_THE_START
    rows: int = 1


def sum_counts(counts: Iterable[TokenCounts | None]) -> TokenCounts | None:
    """Return the sum of `counts`; None if one of them is unknown, or there are none."""
    total = None
    for one in counts:
        if one is None:
            return None
        before = total or TokenCounts()
        total = TokenCounts(
            before.text_input + one.text_input,
            before.audio_input + one.audio_input,
            before.output + one.output,
        )
    return total


def end_by(finished: FinishedWindow, duration_s: float) -> FinishedWindow:
    """Return `finished` with every time held to at most `duration_s`, the duration of the upload."""

    def held(start_s: float, end_s: float) -> dict[str, float]:
        return {"start_s": min(start_s, duration_s), "end_s": min(end_s, duration_s)}

    def held_words(segment: Segment) -> tuple[Word, ...]:
        return tuple(replace(word, **held(word.start_s, word.end_s)) for word in segment.words)

    return replace(
        finished,
        segments=tuple(
            replace(one, words=held_words(one), **held(one.start_s, one.end_s)) for one in finished.segments
        ),
        warnings=tuple(replace(one, **held(one.start_s, one.end_s)) for one in finished.warnings),
    )


def join_texts(texts: Iterable[tuple[str, str | None]]) -> str:
    """Join (text, language) pairs in order, with one space between them, or none in an unspaced script."""
    joined = ""
    for text, language in texts:
        joined += separator(joined, text, language) + text.strip()
    return joined


def separator(before: str, after: str, language: str | None) -> str:
    """Return the separator between `before` and `after`, a text in `language`: a space or nothing."""
    if not before or not after.strip() or language in UNSPACED_LANGUAGES:
        return ""
    return " "


def join_segments(segments: Iterable[Segment]) -> str:
    """Return the running text of `segments`."""
    return join_texts((segment.text, segment.language) for segment in segments)


def main_language(segments: Iterable[Segment]) -> str | None:
    """Return the language with the most seconds of speech; None if no segment has one."""
    spoken_s: defaultdict[str, float] = defaultdict(float)
    for segment in segments:
        if segment.language is not None:
            spoken_s[segment.language] += segment.duration_s
    return max(spoken_s, key=lambda language: spoken_s[language], default=None)


def compose_transcript(
    segments: Sequence[Segment],
    *,
    duration_s: float,
    warnings: Sequence[TranscriptWarning] = (),
    is_complete: bool = True,
) -> Transcript:
    """Return the transcript of `segments`, which are in order."""
    return Transcript(
        text=join_segments(segments),
        language=main_language(segments),
        duration_s=duration_s,
        segments=tuple(segments),
        warnings=tuple(warnings),
        is_complete=is_complete,
    )
