"""Jobs as they stand."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.schemas.base import Body
from api.schemas.transcripts import TranscriptBody
from shared.jobs import JobState

JOB_ID_EXAMPLE = "6f1d5a0c9b7e4d3f8a2b1c0d9e8f7a6b"


class ProgressBody(Body):
    """How far a job is."""

    processed_s: float = Field(examples=[30.0])
    """Seconds of audio that are done."""

    duration_s: float = Field(examples=[95.3])
    """Seconds of audio in all."""


class TimingsBody(Body):
    """When a job changed its state, in UTC, and how long it was worked on."""

    created_at: datetime = Field(examples=["2026-01-15T09:30:00Z"])
    """When it was accepted."""

    started_at: datetime | None = Field(examples=["2026-01-15T09:30:01.250000Z"])
    """When a worker took it for the first time; null before."""

    finished_at: datetime | None = Field(examples=["2026-01-15T09:30:07.800000Z"])
    """When it reached its final state; null before."""

    inference_s: float = Field(examples=[6.4])
    """Seconds that inference has taken so far; loading a model does not count."""


class JobErrorBody(Body):
    """Why a job failed."""

    code: str = Field(examples=["timeout"])
    """For programs."""

    message: str = Field(examples=["Inference took longer than the deadline of the job."])
    """For people."""


class ListedJobBody(Body):
    """A job as it stands, without its transcript."""

    id: str = Field(examples=[JOB_ID_EXAMPLE])
    """The id of the job."""

    state: JobState
    """`succeeded`, `failed` and `cancelled` are final."""

    priority: Literal["interactive", "batch"]
    """The class it is served in."""

    position: int | None = Field(examples=[0])
    """How many jobs are ahead of it; null unless it is queued."""

    eta_s: float | None = Field(examples=[6.5])
    """Seconds until it is done, as far as the audio ahead of it, its own, and the speed of late tell; null
    where it is final, no worker is there, or no speed was measured yet."""

    attempt: int = Field(examples=[1])
    """1 at first, and one more for each time it had to be begun again."""

    engine: str | None = Field(examples=["qwen3"])
    """The engine of the worker that took it last; null before one did."""

    model: str | None = Field(examples=["Qwen/Qwen3-ASR-1.7B"])
    """The model of that engine; null before a worker took it."""

    model_state: Literal["cold", "loading", "warm"] | None
    """Whether the model of the worker that has the job is in memory, or, while it is queued, that of any
    worker; null where the job is final or no worker is there."""

    language: str | None = Field(examples=["en"])
    """ISO code of the language that was asked for; null where it is detected, and the transcript names it."""

    filename: str = Field(examples=["meeting.wav"])
    """The name that the file was sent with, for people."""

    metadata: dict[str, Any] | None = Field(examples=[{"order": 17}])
    """What it was submitted with, the same JSON values; null where that was nothing."""

    progress: ProgressBody
    """How far it is."""

    timings: TimingsBody
    """When it changed its state."""

    error: JobErrorBody | None
    """Why it failed; null unless it did."""


class DeliveryBody(Body):
    """A try to tell `webhook_url` how the job ended."""

    at: datetime = Field(examples=["2026-01-15T09:30:08Z"])
    """When it began."""

    attempt: int = Field(examples=[1])
    """1 for the first try, and one more for each further one."""

    status: int | None = Field(examples=[204])
    """The HTTP status that the receiver answered with; null where it did not answer."""

    error: str | None = Field(examples=["timeout"])
    """Why there is no status; null where there is one."""

    next_at: datetime | None = Field(examples=["2026-01-15T09:35:08Z"])
    """When the next try is due; null where this one was the last."""


class JobBody(ListedJobBody):
    """A job as it stands."""

    deliveries: list[DeliveryBody]
    """The tries so far to tell `webhook_url` how the job ended, the first one first."""

    transcript: TranscriptBody | None
    """What was said; null unless it succeeded."""


class JobList(Body):
    """Some jobs, the newest first."""

    data: list[ListedJobBody]
    """The jobs, without their transcripts."""

    has_more: bool = Field(examples=[True])
    """Whether older ones may follow."""

    next_cursor: str | None = Field(examples=["41"])
    """What to send as `after` to get them; null where there are none."""
