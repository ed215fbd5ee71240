"""The body of a webhook."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.schemas.base import Body
from api.schemas.jobs import JOB_ID_EXAMPLE, JobErrorBody


class EndedJobBody(Body):
    """The job that ended, without its transcript."""

    id: str = Field(examples=[JOB_ID_EXAMPLE])
    """The id of the job."""

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
