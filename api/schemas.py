"""What clients get, as they see it; the only place that knows the shapes of OpenAI's answers."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.jobs import JobState


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class DurationUsage(_Body):
    """What the request used, as OpenAI counts audio."""

    type: Literal["duration"] = "duration"
    """Always `duration`."""

    seconds: int
    """Seconds of audio, rounded up."""


class WordBody(_Body):
    """A spoken word."""

    word: str
    """The word."""

    start: float
    """Seconds from the start of the audio."""

    end: float
    """Seconds from the start of the audio."""


class SegmentBody(_Body):
    """A stretch of speech."""

    start: float
    """Seconds from the start of the audio."""

    end: float
    """Seconds from the start of the audio."""

    text: str
    """What is said."""

    language: str | None
    """ISO code of the language of this segment; null where it is not known."""

    words: list[WordBody] | None = None
    """Its words, where they were asked for."""


class TranscriptionAnswer(_Body):
    """The answer of a synchronous transcription."""

    text: str
    """The transcript; empty where nobody speaks."""

    language: str | None
    """ISO code of the language with the most speech; null where none is known."""

    duration: float
    """Seconds of audio."""

    usage: DurationUsage
    """What the request used."""

    timestamps: list[WordBody] | None = None
    """The words with their times; only with `return_timestamps=true`."""

    warnings: list[str] | None = None
    """What may be wrong with the transcript; only if something may."""


class TranscriptBody(_Body):
    """The transcript of a job that succeeded."""

    text: str
    """The whole text."""

    language: str | None
    """ISO code of the language with the most speech; null where none is known."""

    duration: float
    """Seconds of audio."""

    segments: list[SegmentBody]
    """The segments, in order."""

    warnings: list[str]
    """What may be wrong with the transcript."""


class ProgressBody(_Body):
    """How far a job is."""

    processed_s: float
    """Seconds of audio that are done."""

    duration_s: float
    """Seconds of audio in all."""


class TimingsBody(_Body):
    """When a job changed its state, in UTC."""

    created_at: datetime
    """When it was accepted."""

    started_at: datetime | None
    """When a worker took it for the first time; null before."""

    finished_at: datetime | None
    """When it reached its final state; null before."""


class JobErrorBody(_Body):
    """Why a job failed."""

    code: str
    """For programs."""

    message: str
    """For people."""


class JobBody(_Body):
    """A job as it stands."""

    id: str
    """The id of the job."""

    state: JobState
    """`succeeded`, `failed` and `cancelled` are final."""

    priority: Literal["interactive", "batch"]
    """The class it is served in."""

    position: int | None
    """How many jobs are ahead of it; null unless it is queued."""

    attempt: int
    """1 at first, and one more for each time it had to be begun again."""

    progress: ProgressBody
    """How far it is."""

    timings: TimingsBody
    """When it changed its state."""

    error: JobErrorBody | None
    """Why it failed; null unless it did."""

    transcript: TranscriptBody | None
    """What was said; null unless it succeeded."""


class HealthBody(_Body):
    """How the server is."""

    status: Literal["ok", "degraded"]
    """`ok` if transcriptions would be served."""

    reason: str | None = None
    """Why it is `degraded`."""

    model_loaded: bool
    """Whether a worker has the model in memory; it is loaded when it is needed."""

    model_id: str | None
    """The model that is served; null without a worker."""

    cuda: bool
    """Whether a worker uses an NVIDIA GPU."""

    engine: str | None
    """The engine that runs the model; null without a worker."""

    workers: list[str]
    """The state of the model in each live worker: absent, loading, ready, busy or dead."""


class ReadyBody(_Body):
    """The server would serve a transcription now."""

    status: Literal["ready"] = "ready"
    """Always `ready`."""


class ErrorDetail(_Body):
    """What went wrong."""

    message: str
    """What to do about it."""

    type: str
    """`invalid_request_error` or `server_error`."""

    param: str | None
    """The parameter that is wrong, if one is."""

    code: str | None
    """The kind of error, for programs."""


class ErrorBody(_Body):
    """Every error, as OpenAI shapes it."""

    error: ErrorDetail
    """The error: what to do about it, and what kind it is."""
