"""What the data of events says, as /docs describes it."""

from typing import Literal

from pydantic import Field

from api.schemas.base import Body
from api.schemas.jobs import JOB_ID_EXAMPLE
from api.schemas.transcripts import WarningBody


class JobNamedBody(Body):
    """The job that the stream is of."""

    id: str = Field(examples=[JOB_ID_EXAMPLE])
    """The id of the job."""


class QueuedBody(Body):
    """The job was accepted."""

    position: int = Field(examples=[0])
    """How many jobs are ahead of it."""

    eta_s: float | None = Field(examples=[6.5])
    """Seconds until it is done, as far as could be told then; null where it could not."""


class StartedBody(Body):
    """A worker took the job."""

    attempt: int = Field(examples=[1])
    """1 at first, and one more for each time it had to be begun again."""

    engine: str = Field(examples=["qwen3"])
    """The engine of the worker."""

    model: str = Field(examples=["Qwen/Qwen3-ASR-1.7B"])
    """The model of that engine."""


class LoadingBody(Body):
    """The model is being loaded."""

    phase: str = Field(examples=["weights"])
    """What is done just now, in a word of the engine; `loaded` when the model is there."""

    elapsed_s: float = Field(examples=[4.2])
    """Seconds since this loading began: of the first model with its process, of a second one by itself."""


class PartialBody(Body):
    """What is new in the text of a window that is not finished."""

    window: int = Field(examples=[0])
    """The number of the window, from 0."""

    delta: str = Field(examples=["Good morn"])
    """Text to append to that of the window."""

    tail: str = Field(examples=["ing"])
    """Text behind it that may still change: each event replaces that of the one before."""

    language: str | None = Field(examples=["en"])
    """ISO code of the language in which the text of the window begins; null while it is not known."""


class RequeuedBody(Body):
    """The job is queued again and goes on behind its last segment; partials since then are void."""

    reason: str = Field(examples=["worker_lost"])
    """Why, for programs."""


class SucceededBody(Body):
    """The job succeeded: its transcript can be fetched."""

    complete: bool = Field(examples=[True])
    """Whether all speech is in the text; if not, `warnings` say from when to when some may be missing."""

    warnings: list[WarningBody]
    """What may be wrong with the transcript."""


class CancelledBody(Body):
    """The job was cancelled; there is no more to say."""


class TextBody(Body):
    """All text so far."""

    text: str = Field(examples=["Good morning."])
    """The whole text until now; its end may still change."""

    language: str | None = Field(examples=["en"])
    """ISO code of the language with the most speech so far; null while none is known."""

    is_final: Literal[False] = False
    """Whether this is the whole transcript: not yet."""


class StreamEndBody(Body):
    """The end of a stream."""

    done: Literal[True] = True
    """Always true."""
