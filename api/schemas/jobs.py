"""Jobs, pages of jobs, the stream tokens of jobs, and the webhook about the end of a job."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas.base import Body
from api.schemas.transcripts import TranscriptBody
from shared.jobs import JobState

JOB_ID_EXAMPLE = "6f1d5a0c9b7e4d3f8a2b1c0d9e8f7a6b"
STREAM_TOKEN_EXAMPLE = "Zx3v9Qy1Lk0aTb7WmNcR5eUoPdHs2GfJiX8rV4tBqYM"  # noqa: S105 - nobody's

JobId = Annotated[str, Field(description="The id of the job.", examples=[JOB_ID_EXAMPLE])]


class ProgressBody(Body):
    """The progress of a job."""

    processed_s: float = Field(examples=[30.0])
    """Seconds of audio that are finished, also of a job that failed or was cancelled."""

    duration_s: float = Field(examples=[95.3])
    """Seconds of audio in all."""


class TimingsBody(Body):
    """The times of a job in UTC, and its inference time."""

    created_at: datetime = Field(examples=["2026-01-15T09:30:00Z"])
    """The time when the job was accepted."""

    started_at: datetime | None = Field(examples=["2026-01-15T09:30:01.250000Z"])
    """The time when a worker first took the job; null before."""

    finished_at: datetime | None = Field(examples=["2026-01-15T09:30:07.800000Z"])
    """The time when the job ended; null before."""

    inference_s: float = Field(examples=[6.4])
    """Seconds of inference so far, without model loading."""


class JobErrorBody(Body):
    """The reason why a job failed."""

    code: str = Field(examples=["timeout"])
    """The reason, for programs."""

    message: str = Field(examples=["Inference took longer than the deadline of the job."])
    """The reason, for people."""


class ListedJobBody(Body):
    """A job without its transcript."""

    id: JobId

    state: JobState
    """`succeeded`, `failed` and `cancelled` are final."""

    cancel_requested: bool = Field(examples=[False])
    """Whether the job is running and will be cancelled."""

    priority: Literal["interactive", "batch"]
    """The class in which the job is served."""

    position: int | None = Field(examples=[0])
    """The number of jobs ahead of this one; null unless it is queued."""

    eta_s: float | None = Field(examples=[6.5])
    """The estimated seconds until the job ends, from the audio ahead, its own audio and recent speed; by its
    own speed from its first finished window on. Null for a final job, without a worker, and before any speed
    was measured."""

    attempt: int = Field(examples=[1])
    """1 at first, and one more after each restart of the job."""

    engine: str | None = Field(examples=["qwen3"])
    """The engine of the last worker that took the job; null before."""

    model: str | None = Field(examples=["Qwen/Qwen3-ASR-1.7B"])
    """The model of that engine; null before."""

    model_state: Literal["cold", "loading", "warm"] | None
    """The state of the model in the job's worker, or of any worker for a queued job. Null for a final job, or
    without a worker."""

    language: str | None = Field(examples=["en"])
    """ISO code of the language with the most speech so far. Before the first finished window, and in lists,
    that of the request; null if it has none."""

    language_hint: str | None = Field(examples=["en"])
    """ISO code of the requested language; null if it is detected."""

    filename: str = Field(examples=["meeting.wav"])
    """The name of the uploaded file, for display."""

    metadata: dict[str, Any] | None = Field(examples=[{"order": 17}])
    """The metadata that the job was submitted with; null without metadata."""

    progress: ProgressBody
    """The progress."""

    timings: TimingsBody
    """The times of the job."""

    error: JobErrorBody | None
    """The reason of the failure; null unless the job failed."""


class DeliveryBody(Body):
    """An attempt to deliver the webhook of the job."""

    at: datetime = Field(examples=["2026-01-15T09:30:08Z"])
    """The time of the attempt."""

    attempt: int = Field(examples=[1])
    """The number of the attempt, from 1."""

    status: int | None = Field(examples=[204])
    """The HTTP status of the answer; null without an answer."""

    error: str | None = Field(examples=["timeout"])
    """The reason why there was no answer; null with an answer."""

    next_at: datetime | None = Field(examples=["2026-01-15T09:35:08Z"])
    """The time of the next attempt; null after the last one."""


class JobBody(ListedJobBody):
    """A job."""

    deliveries: list[DeliveryBody]
    """The attempts so far to deliver the webhook, the oldest first."""

    transcript: TranscriptBody | None
    """The transcript; null unless the job succeeded. `/transcript?partial=true` has finished windows."""


class JobList(Body):
    """A page of jobs, the newest first."""

    data: list[ListedJobBody]
    """The jobs, without their transcripts."""

    has_more: bool = Field(examples=[True])
    """Whether older jobs may follow."""

    next_cursor: str | None = Field(examples=["41"])
    """The value of `after` for the next page; null on the last page."""


class StreamTokenBody(Body):
    """A token that is valid only for the events of one job."""

    token: str = Field(examples=[STREAM_TOKEN_EXAMPLE])
    """The value of `?token=`."""

    expires_in_s: float = Field(examples=[300.0])
    """Seconds for which a stream can begin with the token. An open stream goes on."""

    events_url: str = Field(examples=[f"/v1/jobs/{JOB_ID_EXAMPLE}/events?token={STREAM_TOKEN_EXAMPLE}"])
    """The path of the events with the token, for EventSource."""


class EndedJobBody(Body):
    """The job that ended, without its transcript."""

    id: JobId

    state: Literal["succeeded", "failed", "cancelled"]
    """The final state."""

    url: str = Field(examples=[f"https://asr.example.com/v1/jobs/{JOB_ID_EXAMPLE}"])
    """The address of the job, with its transcript if it succeeded. Without PUBLIC_URL it is a path."""

    error: JobErrorBody | None
    """The reason of the failure; null unless the job failed."""

    metadata: dict[str, Any] | None = Field(examples=[{"order": 17}])
    """The metadata that the job was submitted with; null without metadata."""


class JobEndedBody(Body):
    """A job has ended."""

    type: Literal["job.succeeded", "job.failed", "job.cancelled"]
    """`job.` and the final state."""

    timestamp: datetime = Field(examples=["2026-01-15T09:30:07.800000Z"])
    """The time when the job ended, in UTC."""

    data: EndedJobBody
    """The job that ended."""
