"""How the server is."""

from typing import Literal

from pydantic import Field

from api.schemas.base import Body


class HealthBody(Body):
    """How the server is."""

    status: Literal["ok", "degraded"]
    """`ok` if transcriptions would be served."""

    reason: str | None = Field(default=None, examples=["No worker is running."])
    """Why it is `degraded`."""

    model_loaded: bool = Field(examples=[True])
    """Whether a worker has the model in memory; it is loaded when it is needed."""

    model_id: str | None = Field(examples=["Qwen/Qwen3-ASR-1.7B"])
    """The model that is served; null without a worker."""

    cuda: bool = Field(examples=[True])
    """Whether a worker uses an NVIDIA GPU."""

    engine: str | None = Field(examples=["qwen3"])
    """The engine that runs the model; null without a worker."""

    workers: list[str] = Field(examples=[["ready"]])
    """The state of the model in each live worker: absent, loading, ready, busy or dead."""

    queued_jobs: int | None = Field(examples=[2])
    """How many jobs wait in the queue; null where it does not answer."""

    queued_audio_s: float | None = Field(examples=[512.5])
    """How many seconds of audio of theirs wait; null where the queue does not answer."""

    backlog_s: float | None = Field(examples=[14.2])
    """Seconds that the workers there are will take for it and for what they are at, at the speed measured of
    late (real time before the first window); null without a worker."""


class ReadyBody(Body):
    """The server would serve a transcription now."""

    status: Literal["ready"] = "ready"
    """Always `ready`."""
