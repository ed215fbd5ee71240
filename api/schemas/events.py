"""The data of events, as /docs describes it."""

from typing import Literal

from pydantic import Field

from api.schemas.base import Body
from api.schemas.jobs import JobId
from api.schemas.openai import TranscriptionAnswer
from api.schemas.transcripts import WarningBody


class JobNamedBody(Body):
    """The job of this stream."""

    id: JobId


class QueuedBody(Body):
    """The job was accepted."""

    position: int = Field(examples=[0])
    """The number of jobs ahead of it."""

    eta_s: float | None = Field(examples=[6.5])
    """The estimated seconds until the job ends; null without an estimate."""


class StartedBody(Body):
    """A worker took the job."""

    attempt: int = Field(examples=[1])
    """1 at first, and one more after each restart of the job."""

    engine: str = Field(examples=["qwen3"])
    """The engine of the worker."""

    model: str = Field(examples=["Qwen/Qwen3-ASR-1.7B"])
    """The model of that engine."""

    rows_in_use: int = Field(examples=[3])
    """Windows of the worker's next batch that its jobs use, this job's included."""

    max_rows: int = Field(examples=[16])
    """The most windows in a batch of that worker; 1 until its model is loaded."""


class LoadingBody(Body):
    """The worker loads the model."""

    phase: str = Field(examples=["weights"])
    """The current phase, in a word of the engine; `loaded` at the end."""

    elapsed_s: float = Field(examples=[4.2])
    """Seconds since this load began. The load of the first model includes the start of the process."""


class PartialBody(Body):
    """New text of a window that is not finished."""

    window: int = Field(examples=[0])
    """The number of the window, from 0."""

    delta: str = Field(examples=["Good morn"])
    """Text to append to the window."""

    tail: str = Field(examples=["ing"])
    """Text after it that may still change. Each event replaces the tail of the previous one."""

    language: str | None = Field(examples=["en"])
    """ISO code of the language in which the window begins; null while it is unknown."""


class RequeuedBody(Body):
    """The job is queued again. It goes on after its last segment, and later partials are void."""

    reason: str = Field(examples=["worker_lost"])
    """The reason, for programs."""


class SucceededBody(Body):
    """The job succeeded. Its transcript can be fetched."""

    complete: bool = Field(examples=[True])
    """Whether the text has all speech. If not, `warnings` list the times where some may be missing."""

    warnings: list[WarningBody]
    """The parts of the transcript that may be wrong."""


class CancelledBody(Body):
    """The job was cancelled. The event has no data."""


class TextBody(Body):
    """All text so far."""

    text: str = Field(examples=["Good morning."])
    """The text so far. Its end may still change."""

    language: str | None = Field(examples=["en"])
    """ISO code of the language with the most speech so far; null while it is unknown."""

    is_final: Literal[False] = False
    """Always false."""


class FinalTextBody(TranscriptionAnswer):
    """The whole transcript."""

    is_final: Literal[True] = True
    """Always true."""


class StreamEndBody(Body):
    """The end of a stream."""

    done: Literal[True] = True
    """Always true."""
