"""Jobs: the request, the states that a transcription goes through, and the claim of a worker."""

from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import msgspec

from shared.audio_format import FROM_THE_START, AudioStart
from shared.capabilities import ModelState
from shared.transcripts import Segment, TokenCounts, TranscriptWarning


class JobState(StrEnum):
    """The states of a job. ARCHITECTURE.md shows the transitions between them."""

    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # a worker has claimed it and holds a lease
    SUCCEEDED = "succeeded"  # final: its segments are the transcript
    FAILED = "failed"  # final: has a failure code and a message
    CANCELLED = "cancelled"  # final: a client cancelled it, or no longer listens

    @property
    def is_final(self) -> bool:
        """Return whether the job will never change again."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


class Endpoint(StrEnum):
    """The endpoint that submitted a job: one of the three ways of use."""

    SYNC = "sync"  # the response is the transcript
    STREAM = "stream"  # the response is a stream of partials
    JOBS = "jobs"  # submit and poll


class Priority(StrEnum):
    """The scheduling class of a job."""

    INTERACTIVE = "interactive"  # a client waits for it
    BATCH = "batch"  # served when no interactive job waits


class FailureCode(StrEnum):
    """The code of a failure."""

    AUDIO_UNDECODABLE = "audio_undecodable"  # the decoder gave up in the middle of the file
    AUDIO_TOO_LONG = "audio_too_long"  # more audio than declared or allowed
    UPLOAD_MISSING = "upload_missing"  # the stored file is gone
    MODEL_UNAVAILABLE = "model_unavailable"  # the engine could not load its model
    ENGINE_ERROR = "engine_error"  # the engine raised an error; the model process lives
    ENGINE_CRASH = "engine_crash"  # too often, the model process died on this job or no decoder started
    WORKER_LOST = "worker_lost"  # its worker was lost too often
    WORDS_UNSUPPORTED = "words_unsupported_for_language"  # found only by language detection
    TIMEOUT = "timeout"  # inference took longer than the job's deadline
    EXPIRED = "expired"  # no worker claimed the job within QUEUE_TTL_S


class WordTimestamps(StrEnum):
    """The client's need for word timestamps."""

    NONE = "none"  # they would not be used
    WELCOME = "welcome"  # they improve the times of segments and cues, but may be missing
    REQUIRED = "required"  # a transcript without them is useless


class SpeechDetection(msgspec.Struct, frozen=True):
    """A client's settings for telling speech from silence, in place of the defaults.

    Speech begins at a probability of `threshold`. `padding_s` seconds of audio around it are kept. A pause
    lasts at least `pause_s` seconds.
    """

    threshold: float
    padding_s: float
    pause_s: float


class TranscriptionRequest(msgspec.Struct, frozen=True):
    """The options of the client. `language_hint` is an ISO code; None means to detect the language.

    With several `languages`, which are ISO codes, only these may be detected.

    A `temperature` of 0 takes the likeliest tokens, a higher one samples; None leaves it to the engine.
    `audio_track` is the number of a sound track, from 1, or all codes of its language; empty for the default.
    """

    language_hint: str | None = None
    word_timestamps: WordTimestamps = msgspec.field(default=WordTimestamps.NONE, name="word_times")
    context: str | None = None
    temperature: float | None = None
    speech_detection: SpeechDetection | None = None
    audio_track: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()


class Upload(msgspec.Struct, frozen=True):
    """A stored file. `name` is its name in the upload store; `filename` is the client's, for display only.

    `has_trailing_data` tells that other media follow the sound, which are not read.
    """

    name: str
    filename: str
    size_bytes: int
    sha256: str
    duration_s: float
    has_trailing_data: bool = False


class NewJob(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job about to be submitted. `key_name` is the name of its API key, or empty.

    `metadata` belongs to the client and is returned unchanged. `webhook_url` is notified of the end of the
    job. `has_own_secret` records that the API key had its own webhook secret at submission.
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
        """Return the host of the webhook URL without its port; empty if there is no webhook."""
        return urlsplit(self.webhook_url).hostname or "" if self.webhook_url else ""


class Checkpoint(msgspec.Struct, frozen=True):
    """The place after the last finished window, where a job resumes after a crash, a yield or a restart.

    `language` is the language of the last text before it, if there is any. Reading begins at `audio_start`.
    """

    windows: int = 0
    resume_sample: int = 0
    language: str | None = None
    audio_start: AudioStart = FROM_THE_START


class Claim(NewJob, frozen=True, kw_only=True):
    """A job that a worker holds until its lease ends. `claim_no` is the fence: each later call carries it.

    `inference_ms` is the time of inference under earlier claims.
    """

    claim_no: int
    attempt: int
    checkpoint: Checkpoint
    inference_ms: int = 0


class Failure(msgspec.Struct, frozen=True):
    """The reason for a failed job: a code for programs and a sentence for people."""

    code: FailureCode
    message: str


class DeliveryOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcome of an attempt to deliver a webhook.

    `status` is the code that the receiver answered. `error` is a sentence: why it did not answer, or why the
    attempt is the last.
    """

    status: int | None = None
    error: str | None = None


class DeliveryAttempt(msgspec.Struct, frozen=True):
    """One attempt to deliver a webhook, begun at `at_ms`. The next is due at `next_ms`, if there is one."""

    attempt: int
    at_ms: int
    next_ms: int | None
    outcome: DeliveryOutcome


class Job(NewJob, frozen=True, kw_only=True):
    """A job in its current state. Times are milliseconds since the epoch by the Redis server's clock.

    `engine` and `model` are those of the last worker that claimed it; None before the first claim.
    `token_counts` is the sum over all windows so far; None if a window has no counts, or there is no window.
    `eta_s` is the estimate of the seconds until it is done; None if there is no estimate. `model_state`
    belongs to the worker that runs the job. For a queued job it is the most advanced state of any worker.
    `inference_ms` is the time of inference so far. `is_cancel_requested` marks a running job that will be
    cancelled. In every state, the segments and warnings are those of the finished windows. `is_complete` is
    false if speech may be missing from them, and for a job that has not succeeded.
    """

    state: JobState
    created_ms: int
    attempt: int = 1
    started_ms: int | None = None
    finished_ms: int | None = None
    processed_s: float = 0.0
    failure: Failure | None = None
    position: int | None = None
    engine: str | None = None
    model: str | None = None
    segments: tuple[Segment, ...] = ()
    warnings: tuple[TranscriptWarning, ...] = ()
    is_complete: bool = True
    token_counts: TokenCounts | None = None
    deliveries: tuple[DeliveryAttempt, ...] = ()
    eta_s: float | None = None
    model_state: ModelState | None = None
    inference_ms: int = 0
    is_cancel_requested: bool = False


class Directive(StrEnum):
    """The record's answer to a worker that reports on its claim."""

    GO_ON = "go_on"  # continue
    YIELD = "yield"  # return the job to the queue after this window: another job is due
    CANCEL = "cancel"  # stop the engine, then end the job as cancelled
    STALE = "stale"  # another worker has the claim: stop, and report nothing more
