"""Capabilities of an engine, which a worker publishes before any model is loaded."""

from enum import StrEnum

import msgspec

UNREADY_S = 60.0
"""Seconds after a failed load in which `/ready` reports it and the worker claims no batch job. Without an
end, no job would load the model again."""


class ModelState(StrEnum):
    """The state of a worker's model process."""

    ABSENT = "absent"  # no process, and no device memory in use
    LOADING = "loading"  # the process runs, and loads its weights
    READY = "ready"  # waits for a job
    BUSY = "busy"  # transcribes
    DEAD = "dead"  # the process died; the next job starts a new one

    @property
    def is_loaded(self) -> bool:
        """Return whether weights are in memory."""
        return self in (ModelState.READY, ModelState.BUSY)


class Capabilities(msgspec.Struct, frozen=True):
    """The abilities of an engine. Languages are ISO codes; `word_languages` are those with word timestamps.

    A context may have `max_context_bytes` bytes of UTF-8, or any length if that is None.
    """

    engine: str
    model: str
    languages: frozenset[str]
    word_languages: frozenset[str]
    context: bool = True
    streaming: bool = True
    max_context_bytes: int | None = None


class WorkerPresence(msgspec.Struct, frozen=True):
    """The state that a live worker announces every few seconds.

    The worker holds the jobs `job_ids`. The last batch of these had `rows` windows of at most `max_rows`.
    `takes_jobs` is false if the worker is stopping, or if its model process has died too often.
    `load_error` is the reason why the last load of the model failed, at `load_failed_s` since the epoch. The
    next interactive job loads it again, or after UNREADY_S seconds the next batch job.
    """

    worker_id: str
    capabilities: Capabilities
    model_state: ModelState
    device: str
    job_ids: tuple[str, ...] = ()
    rows: int = 0
    max_rows: int = 1
    takes_jobs: bool = True
    load_error: str = ""
    load_failed_s: float = 0.0
