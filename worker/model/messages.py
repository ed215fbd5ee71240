"""The messages between model host and model process: a closed union of small classes for each direction."""

import msgspec

from shared.events import Partial
from shared.jobs import Checkpoint, Claim, Endpoint, FailureCode, Priority, TranscriptionRequest
from shared.transcripts import FinishedWindow

EARLY_TEXT_FROM_S = 10.0
"""Seconds of audio from which early text is worth its time. The text of shorter audio comes soon."""


class RunMessage(msgspec.Struct, frozen=True, tag=True):
    """The base of all messages about a job. The host assigns `run`: a late one cannot affect the next job."""

    run: int


# From the host to the process.


class DecodeJob(RunMessage, frozen=True):
    """Transcribe the sound from the descriptor that comes with this message.

    It is a decoder's pipe, or a file of stored samples at the place where the job begins. If early text is
    wanted, an engine that can make a draft makes it first. Another engine decodes the first window alone.
    """

    request: TranscriptionRequest
    checkpoint: Checkpoint
    is_early_text_wanted: bool
    has_stored_samples: bool = False
    job_id: str = ""
    priority: Priority = Priority.INTERACTIVE


class StopJob(RunMessage, frozen=True):
    """Stop this run as soon as the engine can, or when its windows in decoding are done.

    Between two batches it stops without loss. A batch of an engine whose batches are fixed is finished first
    if it `finishes_windows`.
    """

    finishes_windows: bool = False


class DecodeBatch(msgspec.Struct, frozen=True, tag=True):
    """Decode one batch of the jobs sent so far: a row of each job, and more up to `max_rows`.

    A `max_rows` of 0 means as many as the engine takes. If the engine joins rows, jobs that are sent later
    join the batch, which lasts until no job has a window.
    """

    max_rows: int = 0


Order = DecodeJob | StopJob | DecodeBatch


def make_order(run: int, claim: Claim) -> DecodeJob:
    """Return the order to transcribe `claim`."""
    # `stream=true` of the sync endpoint sends final text only. The events of a job may have no reader.
    is_early_text_wanted = (
        claim.endpoint is Endpoint.STREAM
        and claim.checkpoint.windows == 0
        and claim.upload.duration_s >= EARLY_TEXT_FROM_S
    )
    return DecodeJob(
        run,
        claim.request,
        claim.checkpoint,
        is_early_text_wanted,
        job_id=claim.job_id,
        priority=claim.priority,
    )


# From the process to the host.


class LoadPhaseBegun(msgspec.Struct, frozen=True, tag=True):
    """A phase of loading began, `elapsed_s` after the start of loading.

    The first load begins with the process. A second model may be loaded during a job.
    """

    phase: str
    elapsed_s: float


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """The model, or a second one, is in memory on `device`, `elapsed_s` after the start of loading.

    At most `rows` windows are decoded at once. If the engine `joins_rows`, jobs may begin during a batch.
    """

    device: str
    elapsed_s: float
    rows: int = 1
    joins_rows: bool = False


class LoadFailed(msgspec.Struct, frozen=True, tag=True):
    """The model is unavailable. The process ends after this message."""

    message: str


class PartialDecoded(RunMessage, frozen=True):
    """The open window has more text."""

    partial: Partial


class WindowDecoded(RunMessage, frozen=True):
    """A window is final. After `is_last_row` the rest of the batch has only rows of other runs."""

    finished: FinishedWindow
    is_last_row: bool = False


class RowsJoined(msgspec.Struct, frozen=True, tag=True):
    """More windows entered the batch, or its first ones. It has `rows` windows in decoding now."""

    rows: int


class BatchDecoded(msgspec.Struct, frozen=True, tag=True):
    """A batch is done: all its windows are reported, and so are all runs that ended.

    The process waits for the next DecodeBatch. Meanwhile a run stops without loss. The batch had `rows`
    windows of `jobs` jobs with `audio_s` seconds of audio, and took `took_s`. The next one has at most
    `max_rows` windows.
    """

    rows: int
    jobs: int
    audio_s: float
    took_s: float
    max_rows: int


class AudioRead(RunMessage, frozen=True):
    """The process is at work, and has had nothing else to report for some seconds."""


class JobDecoded(RunMessage, frozen=True):
    """All of the audio is decoded. `last` is its last window if that was not reported before."""

    last: FinishedWindow | None = None


class JobStopped(RunMessage, frozen=True):
    """The run ended because of a StopJob."""


class JobFailed(RunMessage, frozen=True):
    """This job cannot be transcribed."""

    code: FailureCode
    message: str


RunReport = PartialDecoded | WindowDecoded | AudioRead | JobDecoded | JobStopped | JobFailed
Report = LoadPhaseBegun | Loaded | LoadFailed | RowsJoined | BatchDecoded | RunReport

order_decoder: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
report_decoder: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)
