"""Transcripts and their parts."""

from pydantic import Field

from api.schemas.base import Body, DurationS, EndS, StartS
from shared.transcripts import WarningCode


class WordBody(Body):
    """A spoken word."""

    word: str = Field(examples=["morning"])
    """The word."""

    start: StartS
    end: EndS


class SegmentBody(Body):
    """A segment of the transcript."""

    start: StartS
    end: EndS

    text: str = Field(examples=["Good morning."])
    """The text."""

    language: str | None = Field(examples=["en"])
    """ISO code of the segment's language; null if it is unknown."""

    words: list[WordBody] | None = None
    """The words, if the client requested word timestamps."""


class WarningBody(Body):
    """A part of the transcript that may be wrong."""

    code: WarningCode
    """The kind of warning, for programs. After `truncated`, speech may be missing."""

    message: str = Field(examples=["The model repeated itself; the repeats were cut."])
    """The warning, for people."""

    start: StartS
    end: EndS


class TranscriptBody(Body):
    """The transcript of a job that succeeded."""

    text: str = Field(examples=["Good morning."])
    """The whole text."""

    language: str | None = Field(examples=["en"])
    """ISO code of the language with the most speech; null if it is unknown."""

    duration: DurationS

    segments: list[SegmentBody]
    """The segments, in order."""

    complete: bool = Field(examples=[True])
    """Whether the text has all speech. If not, `warnings` list the times where some may be missing."""

    warnings: list[WarningBody]
    """The parts of the transcript that may be wrong."""
