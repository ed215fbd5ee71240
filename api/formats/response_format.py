"""The formats and timestamp granularities that a client can request."""

from enum import StrEnum


class ResponseFormat(StrEnum):
    """A format of a transcript, by OpenAI's name."""

    JSON = "json"  # an object with the text
    TEXT = "text"  # the bare text
    SRT = "srt"  # SubRip subtitles
    VERBOSE_JSON = "verbose_json"  # an object with segments, and words on request
    VTT = "vtt"  # WebVTT subtitles

    @property
    def has_times(self) -> bool:
        """Return whether the format contains timestamps."""
        return self in (ResponseFormat.SRT, ResponseFormat.VERBOSE_JSON, ResponseFormat.VTT)


class Granularity(StrEnum):
    """The parts of a transcript that get timestamps."""

    WORD = "word"
    SEGMENT = "segment"


def choose_granularities(
    asked: frozenset[Granularity] = frozenset(), *, with_words: bool
) -> frozenset[Granularity]:
    """Return the granularities asked for, and `with_words` words besides; segments by default."""
    if not with_words:
        return asked
    return frozenset({Granularity.WORD}) | (asked or {Granularity.SEGMENT})
