"""Jobs as they stand."""

from datetime import datetime
from typing import Literal

from api.schemas.base import Body
from api.schemas.transcripts import TranscriptBody
from shared.jobs import JobState


class ProgressBody(Body):
    """How far a job is."""

    processed_s: float
    """Seconds of audio that are done."""

    duration_s: float
    """Seconds of audio in all."""


class TimingsBody(Body):
    """When a job changed its state, in UTC."""

    created_at: datetime
    """When it was accepted."""

    started_at: datetime | None
    """When a worker took it for the first time; null before."""

    finished_at: datetime | None
    """When it reached its final state; null before."""


class JobErrorBody(Body):
    """Why a job failed."""

    code: str
    """For programs."""

    message: str
    """For people."""


class JobBody(Body):
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

    engine: str | None
    """The engine of the worker that took it last; null before one did."""

    model: str | None
    """The model of that engine; null before a worker took it."""

    progress: ProgressBody
    """How far it is."""

    timings: TimingsBody
    """When it changed its state."""

    error: JobErrorBody | None
    """Why it failed; null unless it did."""

    transcript: TranscriptBody | None
    """What was said; null unless it succeeded."""
