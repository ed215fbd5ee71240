"""How the server is."""

from typing import Literal

from api.schemas.base import Body


class HealthBody(Body):
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


class ReadyBody(Body):
    """The server would serve a transcription now."""

    status: Literal["ready"] = "ready"
    """Always `ready`."""
