"""What a `webhook_url` is sent, as /docs describes it; `api.webhooks.messages` makes it."""

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
    """The state that it ended in."""

    url: str = Field(examples=[f"https://asr.example.com/v1/jobs/{JOB_ID_EXAMPLE}"])
    """Where the job is, and its transcript if it succeeded; a path, where the server has no PUBLIC_URL."""

    error: JobErrorBody | None
    """Why it failed; null unless it did."""

    metadata: dict[str, Any] | None = Field(examples=[{"order": 17}])
    """What it was submitted with, untouched; null where that was nothing."""


class JobEndedBody(Body):
    """A job has ended."""

    type: Literal["job.succeeded", "job.failed", "job.cancelled"]
    """How it ended: `job.` and its state."""

    timestamp: datetime = Field(examples=["2026-01-15T09:30:07.800000Z"])
    """When it ended, in UTC."""

    data: EndedJobBody
    """The job that ended."""
