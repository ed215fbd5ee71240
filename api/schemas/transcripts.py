"""Transcripts, and what they are made of."""

from pydantic import Field

from api.schemas.base import Body
from shared.transcripts import WarningCode


class WordBody(Body):
    """A spoken word."""

    word: str = Field(examples=["morning"])
    """The word."""

    start: float = Field(examples=[0.48])
    """Seconds from the start of the audio."""

    end: float = Field(examples=[0.92])
    """Seconds from the start of the audio."""


class SegmentBody(Body):
    """A stretch of speech."""

    start: float = Field(examples=[0.48])
    """Seconds from the start of the audio."""

    end: float = Field(examples=[0.92])
    """Seconds from the start of the audio."""

    text: str = Field(examples=["Good morning."])
    """What is said."""

    language: str | None = Field(examples=["en"])
    """ISO code of the language of this segment; null where it is not known."""

    words: list[WordBody] | None = None
    """Its words, where they were asked for."""


class WarningBody(Body):
    """What may be wrong with a stretch of the transcript."""

    code: WarningCode
    """For programs; `truncated` is where speech may be missing."""

    message: str = Field(examples=["The model repeated itself; the repeats were cut."])
    """For people."""

    start: float = Field(examples=[0.48])
    """Where the stretch begins, in seconds from the start of the audio."""

    end: float = Field(examples=[0.92])
    """Where it ends, in seconds from the start of the audio."""


class TranscriptBody(Body):
    """The transcript of a job that succeeded."""

    text: str = Field(examples=["Good morning."])
    """The whole text."""

    language: str | None = Field(examples=["en"])
    """ISO code of the language with the most speech; null where none is known."""

    duration: float = Field(examples=[3.2])
    """Seconds of audio."""

    segments: list[SegmentBody]
    """The segments, in order."""

    complete: bool = Field(examples=[True])
    """Whether all speech is in the text; if not, `warnings` say from when to when some may be missing."""

    warnings: list[WarningBody]
    """What may be wrong with the transcript."""
