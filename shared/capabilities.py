"""Capabilities: what an engine can do, as a worker says it before any model is loaded."""

from enum import StrEnum

import msgspec


class ModelState(StrEnum):
    """The state of a worker's model process."""

    ABSENT = "absent"  # no process: no memory of the device is used
    LOADING = "loading"  # the process is there, the weights not yet
    READY = "ready"  # waits for a job
    BUSY = "busy"  # transcribes
    DEAD = "dead"  # ended unasked; the next job starts a new one

    @property
    def is_loaded(self) -> bool:
        """Whether weights are in memory."""
        return self in (ModelState.READY, ModelState.BUSY)


class Capabilities(msgspec.Struct, frozen=True):
    """What an engine can do. Languages are ISO codes; `word_languages` are those with word times.

    A context may have `max_context_bytes` of UTF-8; None where any length will do.
    """

    engine: str
    model: str
    languages: frozenset[str]
    word_languages: frozenset[str]
    context: bool
    streaming: bool
    max_context_bytes: int | None = None


class WorkerPresence(msgspec.Struct, frozen=True):
    """What a live worker says of itself every few seconds.

    It `takes_jobs` unless it is about to stop, or its model process has died too often of late.
    """

    worker_id: str
    capabilities: Capabilities
    model_state: ModelState
    device: str
    job_id: str | None = None
    takes_jobs: bool = True
