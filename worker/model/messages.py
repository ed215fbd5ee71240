"""The wire between model host and model process: a closed union of small classes for each direction.

Every message of a job carries the `run` the host gave it, so that nothing late can hit the next job.
"""

import msgspec

from shared.jobs import Checkpoint, FailureCode, TranscriptionRequest
from shared.transcripts import Segment, TokenCounts, TranscriptWarning


class DecodeJob(msgspec.Struct, frozen=True, tag=True):
    """To the process: transcribe the PCM frames that come out of the descriptor sent along.

    Early text is that of a short first window; a draft of it may come before, and be wrong.
    """

    run: int
    request: TranscriptionRequest
    checkpoint: Checkpoint
    is_early_text_wanted: bool
    is_draft_wanted: bool = False


class StopJob(msgspec.Struct, frozen=True, tag=True):
    """To the process: stop this run as soon as the engine can."""

    run: int


class GoOn(msgspec.Struct, frozen=True, tag=True):
    """To the process: decode the next batch of windows of this run."""

    run: int


Order = DecodeJob | StopJob | GoOn


class Loading(msgspec.Struct, frozen=True, tag=True):
    """From the process: a phase of loading began, `elapsed_s` after the loading did.

    The first loading begins with the process; a second model may be loaded in the middle of a job.
    """

    phase: str
    elapsed_s: float


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """From the process: the model, or a second one, is in memory on `device`, `elapsed_s` after it began."""

    device: str
    elapsed_s: float


class LoadFailed(msgspec.Struct, frozen=True, tag=True):
    """From the process, which then ends: the model cannot be had."""

    message: str


class PartialDecoded(msgspec.Struct, frozen=True, tag=True):
    """From the process: more text of the open window, which begins in this language as far as is known."""

    run: int
    window: int
    delta: str
    tail: str
    language: str | None = None


class WindowDecoded(msgspec.Struct, frozen=True, tag=True):
    """From the process: a window is final; the next may begin at `end_sample` (16 kHz) of the upload.

    Where it is not complete, speech may be missing from its segments.
    """

    run: int
    window: int
    end_sample: int
    segments: tuple[Segment, ...]
    warnings: tuple[TranscriptWarning, ...]
    is_complete: bool
    token_counts: TokenCounts | None = None


class BatchDecoded(msgspec.Struct, frozen=True, tag=True):
    """From the process, which waits for GoOn or StopJob: windows are done, and the next are ready."""

    run: int


class AudioRead(msgspec.Struct, frozen=True, tag=True):
    """From the process: it is alive, and has found nothing to decode for some seconds."""

    run: int


class JobDecoded(msgspec.Struct, frozen=True, tag=True):
    """From the process: all of the audio is done."""

    run: int


class JobStopped(msgspec.Struct, frozen=True, tag=True):
    """From the process: the run ended because it was told to stop."""

    run: int


class JobFailed(msgspec.Struct, frozen=True, tag=True):
    """From the process, which lives on: this job cannot be transcribed."""

    run: int
    code: FailureCode
    message: str


RunReport = PartialDecoded | WindowDecoded | BatchDecoded | AudioRead | JobDecoded | JobStopped | JobFailed
Report = Loading | Loaded | LoadFailed | RunReport

_orders: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
_reports: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)


def encode_message(message: Order | Report) -> bytes:
    """The message as bytes."""
    return msgspec.json.encode(message)


def decode_order(raw: bytes) -> Order:
    """The message to the process that `raw` holds."""
    return _orders.decode(raw)


def decode_report(raw: bytes) -> Report:
    """The message from the process that `raw` holds."""
    return _reports.decode(raw)
