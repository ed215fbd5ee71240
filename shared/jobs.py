"""Jobs: what is asked for, the states a transcription goes through, and what a worker claims."""

from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import msgspec

from shared.capabilities import ModelState
from shared.transcripts import Segment, TokenCounts, TranscriptWarning


class JobState(StrEnum):
    """The states of a job; see ARCHITECTURE.md for the transitions between them."""

    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # claimed by a worker that holds a lease on it
    SUCCEEDED = "succeeded"  # final: its segments are the transcript
    FAILED = "failed"  # final: carries a failure code and a message
    CANCELLED = "cancelled"  # final: somebody asked for that

    @property
    def is_final(self) -> bool:
        """Whether the job will never change again."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


class Endpoint(StrEnum):
    """By which of the three ways of use a job came in."""

    SYNC = "sync"  # the answer to the request is the transcript
    STREAM = "stream"  # the answer to the request is a stream of partials
    JOBS = "jobs"  # submit and poll


class Priority(StrEnum):
    """The class a job is served in."""

    INTERACTIVE = "interactive"  # somebody waits for it
    BATCH = "batch"  # served when nothing interactive waits


class FailureCode(StrEnum):
    """Why a job failed."""

    AUDIO_UNDECODABLE = "audio_undecodable"  # the decoder gave up in the middle of the file
    AUDIO_TOO_LONG = "audio_too_long"  # there was more audio than the file told, or than is allowed
    UPLOAD_MISSING = "upload_missing"  # the stored file is gone
    MODEL_UNAVAILABLE = "model_unavailable"  # the engine could not load its model
    ENGINE_ERROR = "engine_error"  # the engine raised an error; the model process lives
    ENGINE_CRASH = "engine_crash"  # the model process died under this job, or no decoder started, too often
    WORKER_LOST = "worker_lost"  # the worker vanished under this job too often
    WORDS_UNSUPPORTED = "words_unsupported_for_language"  # found only by detecting the language
    TIMEOUT = "timeout"  # inference took longer than the job's deadline
    EXPIRED = "expired"  # no worker claimed the job within QUEUE_TTL_S


class WordTimestamps(StrEnum):
    """Whether a client needs the word timestamps."""

    NONE = "none"  # they would go unused
    WELCOME = "welcome"  # they make the times of segments or cues better; do without where there are none
    REQUIRED = "required"  # a transcript without them is of no use


class SpeechDetection(msgspec.Struct, frozen=True):
    """How speech is told from silence, where a client wants that otherwise than it is done by default.

    Speech begins at a probability of `threshold`; `padding_s` of audio are kept around it, and a pause is
    at least `pause_s` long.
    """

    threshold: float
    padding_s: float
    pause_s: float


class TranscriptionRequest(msgspec.Struct, frozen=True):
    """What the client asked for. `language_hint` is an ISO code; None means: detect it.

    A `temperature` of 0 takes the likeliest tokens, a higher one draws them; None leaves it to the engine.
    """

    language_hint: str | None = None
    word_timestamps: WordTimestamps = msgspec.field(default=WordTimestamps.NONE, name="word_times")
    context: str | None = None
    temperature: float | None = None
    speech_detection: SpeechDetection | None = None


class Upload(msgspec.Struct, frozen=True):
    """A stored file: `name` in the upload store, the client's `filename` for display only."""

    name: str
    filename: str
    size_bytes: int
    sha256: str
    duration_s: float


class NewJob(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job about to be submitted. `key_name` is that of its API key, or empty.

    `metadata` is the client's own, given back with the same values; `webhook_url` is told how the job ended.
    With `has_own_secret` its API key had a webhook secret of its own when the job came.
    """

    job_id: str
    endpoint: Endpoint = msgspec.field(name="door")
    priority: Priority
    upload: Upload
    request: TranscriptionRequest
    key_name: str = ""
    metadata: dict[str, Any] | None = None
    webhook_url: str | None = None
    has_own_secret: bool = False

    @property
    def receiver(self) -> str:
        """The host, whatever the port, that is told how the job ended; empty where none is."""
        return urlsplit(self.webhook_url).hostname or "" if self.webhook_url else ""


class Checkpoint(msgspec.Struct, frozen=True):
    """Where a job goes on after a crash, a yield or a restart: behind its last finished window.

    `language` is that of the last text before it, if there is any.
    """

    windows: int = 0
    resume_sample: int = 0
    language: str | None = None


class Claim(msgspec.Struct, frozen=True):
    """A worker's right to a job until its lease ends. `claim_no` is the fence each later call carries.

    `inference_ms` is what inference for the job has taken so far, under earlier claims.
    """

    job_id: str
    claim_no: int
    attempt: int
    endpoint: Endpoint
    priority: Priority
    upload: Upload
    request: TranscriptionRequest
    checkpoint: Checkpoint
    inference_ms: int = 0


class Failure(msgspec.Struct, frozen=True):
    """Why a job failed, in a code for programs and a sentence for people."""

    code: FailureCode
    message: str


class DeliveryOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a try to tell somebody's server how a job ended came to.

    `status` is the code of its answer, `error` says in a sentence why there was none, or why it is the last.
    """

    status: int | None = None
    error: str | None = None


class DeliveryTry(msgspec.Struct, frozen=True):
    """One try, begun at `at_ms`; the next one is due at `next_ms`, if there is one."""

    attempt: int
    at_ms: int
    next_ms: int | None
    outcome: DeliveryOutcome


class Job(msgspec.Struct, frozen=True):
    """A job as it stands. Times are milliseconds of the Redis server's clock since the epoch.

    `engine` and `model` are those of the worker that claimed it last; None before the first claim.
    `token_counts` are those of all windows so far; None where one of them has none, or there are none.
    `eta_s` are the seconds until it is done, None where that cannot be told; `model_state` is that of the
    worker that has it or, while it is queued, of the one that is nearest to being loaded. `inference_ms` is
    what inference has taken so far.
    """

    job_id: str
    state: JobState
    endpoint: Endpoint
    priority: Priority
    upload: Upload
    request: TranscriptionRequest
    attempt: int
    created_ms: int
    started_ms: int | None
    finished_ms: int | None
    processed_s: float
    failure: Failure | None
    position: int | None
    engine: str | None = None
    model: str | None = None
    segments: tuple[Segment, ...] = ()
    warnings: tuple[TranscriptWarning, ...] = ()
    is_complete: bool = True
    token_counts: TokenCounts | None = None
    deliveries: tuple[DeliveryTry, ...] = ()
    eta_s: float | None = None
    model_state: ModelState | None = None
    inference_ms: int = 0
    metadata: dict[str, Any] | None = None


def queued_job(new_job: NewJob, *, created_ms: int) -> Job:
    """The job that comes of `new_job`, before anything is known of its place in the queue."""
    return Job(
        job_id=new_job.job_id,
        state=JobState.QUEUED,
        endpoint=new_job.endpoint,
        priority=new_job.priority,
        upload=new_job.upload,
        request=new_job.request,
        attempt=1,
        created_ms=created_ms,
        started_ms=None,
        finished_ms=None,
        processed_s=0.0,
        failure=None,
        position=None,
        metadata=new_job.metadata,
    )


class Directive(StrEnum):
    """What the job record tells a worker that reports on its claim."""

    GO_ON = "go_on"  # nothing to note
    YIELD = "yield"  # give the job back at this boundary of windows: something else is due
    CANCEL = "cancel"  # stop generating, then finish the job as cancelled
    STALE = "stale"  # the claim is no longer this worker's: stop, and report nothing more
