"""The health of the server."""

from typing import Literal

from pydantic import Field

from api.schemas.base import Body


class HealthBody(Body):
    """The health of the server."""

    status: Literal["ok", "degraded"]
    """`ok` if the server accepts transcriptions."""

    reason: str | None = Field(default=None, examples=["No worker is running."])
    """The reason for `degraded`."""

    model_loaded: bool = Field(examples=[True])
    """Whether a worker has the model in memory. Workers load it on demand."""

    model_id: str | None = Field(examples=["Qwen/Qwen3-ASR-1.7B"])
    """The model of the workers; null without a worker."""

    cuda: bool = Field(examples=[True])
    """Whether a worker uses an NVIDIA GPU."""

    engine: str | None = Field(examples=["qwen3"])
    """The engine that runs the model; null without a worker."""

    workers: list[str] = Field(examples=[["ready"]])
    """The state of the model in each live worker: absent, loading, ready, busy or dead."""

    queued_jobs: int | None = Field(examples=[2])
    """The number of jobs in the queue; null if Redis does not answer."""

    queued_audio_s: float | None = Field(examples=[512.5])
    """The seconds of audio in the queue; null if Redis does not answer."""

    backlog_s: float | None = Field(examples=[14.2])
    """The estimated seconds until the workers finish all queued and running jobs, at their recent speed (real
    time before the first window); null without a worker."""


class ReadyBody(Body):
    """The server accepts transcriptions now."""

    status: Literal["ready"] = "ready"
    """Always `ready`."""
