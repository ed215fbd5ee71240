"""The messages between model host and model process: a closed union of small classes for each direction.

Every message about a job carries the `run` that the host assigned. So a late one cannot affect the next job.
"""

import msgspec

from shared.events import Partial
from shared.jobs import Checkpoint, FailureCode, TranscriptionRequest
from shared.transcripts import Segment, TokenCounts, TranscriptWarning

# From the host to the process.


class DecodeJob(msgspec.Struct, frozen=True, tag=True):
    """Transcribe the PCM frames from the descriptor that comes with this message.

    Early text comes from a short first window. A draft comes before that text, and may be wrong.
    """

    run: int
    request: TranscriptionRequest
    checkpoint: Checkpoint
    is_early_text_wanted: bool
    is_draft_wanted: bool = False


class StopJob(msgspec.Struct, frozen=True, tag=True):
    """Stop this run as soon as the engine can."""

    run: int


class ContinueJob(msgspec.Struct, frozen=True, tag=True):
    """Decode the next batch of windows of this run."""

    run: int


Order = DecodeJob | StopJob | ContinueJob


# From the process to the host.


class LoadPhaseBegun(msgspec.Struct, frozen=True, tag=True):
    """A phase of loading began, `elapsed_s` after the start of loading.

    The first load begins with the process. A second model may be loaded during a job.
    """

    phase: str
    elapsed_s: float


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """The model, or a second one, is in memory on `device`, `elapsed_s` after the start of loading."""

    device: str
    elapsed_s: float


class LoadFailed(msgspec.Struct, frozen=True, tag=True):
    """The model is unavailable. The process ends after this message."""

    message: str


class PartialDecoded(msgspec.Struct, frozen=True, tag=True):
    """The open window has more text."""

    run: int
    partial: Partial


class WindowDecoded(msgspec.Struct, frozen=True, tag=True):
    """A window is final. The next one may begin at `end_sample` (16 kHz) of the upload.

    If `is_complete` is false, speech may be missing from its segments.
    """

    run: int
    window: int
    end_sample: int
    segments: tuple[Segment, ...]
    warnings: tuple[TranscriptWarning, ...]
    is_complete: bool
    token_counts: TokenCounts | None = None


class BatchDecoded(msgspec.Struct, frozen=True, tag=True):
    """A batch is done and the next one is ready. The process waits for ContinueJob or StopJob.

    A StopJob without this wait would arrive when the next windows have begun, and their work would be lost.
    """

    run: int


class AudioRead(msgspec.Struct, frozen=True, tag=True):
    """The process is alive, and has found nothing to decode for some seconds."""

    run: int


class JobDecoded(msgspec.Struct, frozen=True, tag=True):
    """All of the audio is decoded."""

    run: int


class JobStopped(msgspec.Struct, frozen=True, tag=True):
    """The run ended because of a StopJob."""

    run: int


class JobFailed(msgspec.Struct, frozen=True, tag=True):
    """This job cannot be transcribed. The process is ready for the next one."""

    run: int
    code: FailureCode
    message: str


RunReport = PartialDecoded | WindowDecoded | BatchDecoded | AudioRead | JobDecoded | JobStopped | JobFailed
Report = LoadPhaseBegun | Loaded | LoadFailed | RunReport

order_decoder: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
report_decoder: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)


def encode_message(message: Order | Report) -> bytes:
    """Return the message as JSON."""
    return msgspec.json.encode(message)
