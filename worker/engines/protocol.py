"""The protocol between the model process and an engine, and the values that they exchange."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import msgspec
import numpy as np
import numpy.typing as npt
import structlog

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import FailureCode, TranscriptionRequest
from shared.transcripts import WindowTranscript

Samples = npt.NDArray[np.float32]

Done = TypeVar("Done")

PhaseReporter = Callable[[str], None]
"""A callback for a phase that begins, in a word or two: in `load`, or while a second model is loaded."""

LOADED = "loaded"
"""The phase that ends the loading of a second model. The first model is loaded when `Engine.load` returns."""

_logger = structlog.get_logger(__name__)

# The folders above the last part of an absolute path. The slashes of a URL or a name on the hub do not match.
_PARENT_FOLDERS = re.compile(r"(?<![\w.:/-])/(?:[^\s/]+/)+")

# An interval that reaches at most this far into a span only touches the silence at the span's edge. Whisper's
# times are rough, and 0.4 s of silence is kept there.
_TOUCH_S = 0.5


class Span(msgspec.Struct, frozen=True):
    """A range of the upload, in samples at 16 kHz: start inclusive, end exclusive."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """The number of samples."""
        return self.end - self.start


class Window(msgspec.Struct, frozen=True):
    """A slice of audio that is decoded at once: the samples of `spans`, one after the other.

    `samples` is float32 in -1..1 at 16 kHz, shape (sum of span lengths,). `end_sample` is the place in the
    upload where the next window may begin: all audio before it is in this window, in an earlier one, or
    silence. `pauses` are the places in `samples`, in mid-silence, between two speech regions. A window that
    `ends_in_speech` had no pause late enough. No window follows one that `is_last`.
    """

    index: int
    spans: tuple[Span, ...]
    samples: Samples
    end_sample: int
    pauses: tuple[int, ...] = ()
    ends_in_speech: bool = False
    is_last: bool = False

    def to_upload_s(self, window_s: float) -> float:
        """Return the time in the upload of a moment in this window, both in seconds.

        A moment between two spans belongs to the earlier span. Moments outside the window are clamped.
        """
        position = max(0.0, window_s * SAMPLE_RATE_HZ)
        for span in self.spans:
            if position <= span.length:
                return (span.start + position) / SAMPLE_RATE_HZ
            position -= span.length
        return self.spans[-1].end / SAMPLE_RATE_HZ

    def to_upload_interval_s(self, start_s: float, end_s: float) -> tuple[float, float]:
        """Return an interval of this window as (start, end) in seconds of the upload.

        Engines give rough times. An interval that only touches a span ends before that span. Otherwise it
        would include all the silence that the window leaves out between the two spans.
        """
        shares = list(self._share_out(start_s * SAMPLE_RATE_HZ, end_s * SAMPLE_RATE_HZ))
        if not shares:
            moment = self.to_upload_s(start_s)
            return moment, moment
        longest = max(shares, key=_length_s)
        held = [share for share in shares if share is longest or _length_s(share) > _TOUCH_S]
        return held[0][0], held[-1][1]

    def _share_out(self, start: float, end: float) -> Iterator[tuple[float, float]]:
        """Yield the share of each span in the samples `start`..`end`, in seconds of the upload."""
        offset = 0
        for span in self.spans:
            first, last = max(start, offset), min(end, offset + span.length)
            if first < last:
                shift = span.start - offset
                yield (first + shift) / SAMPLE_RATE_HZ, (last + shift) / SAMPLE_RATE_HZ
            offset += span.length


def _length_s(interval: tuple[float, float]) -> float:
    return interval[1] - interval[0]


class DecodingListener(Protocol):
    """A follower of the decoding of one job, called from the decoding thread."""

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        """Append `delta` to the text of `window`. `tail` comes after it and may still change.

        A window gets deltas only after all earlier windows are complete. `language` is the language in which
        the window's text begins, if known: it decides if a space belongs before the text.
        """

    def is_stopped(self) -> bool:
        """Return whether the engine must stop the rows of this job as soon as it can."""


class Row(msgspec.Struct, frozen=True):
    """One window of one job in a batch, with the job's request and listener.

    `previous_language` is the language of the job's speech before the rows that are in decoding. It is used
    for text whose own language is in doubt.
    """

    window: Window
    request: TranscriptionRequest
    listener: DecodingListener
    previous_language: str | None = None


class RowFailure(msgspec.Struct, frozen=True):
    """The end of a row that cannot be transcribed. Its job fails with this code and message."""

    code: FailureCode
    message: str


class RowStopped(msgspec.Struct, frozen=True):
    """The end of a row whose listener requested a stop."""


RowOutcome = WindowTranscript | RowFailure | RowStopped

TakeRows = Callable[[int], Sequence[Row]]
"""A callback that returns at most so many further rows, without waiting for any. It may be called with 0."""


def take_no_rows(_free_rows: int) -> Sequence[Row]:
    """Return no rows: the batch is fixed."""
    return ()


class DecodingStopped(Exception):
    """Raised within an engine after a listener requested a stop."""


class WordsUnsupported(Exception):
    """Raised within an engine: word timestamps are required for a language that has none.

    The message names the language and the remedy.
    """


class ModelUnavailable(Exception):
    """Raised when the weights of a model are missing or cannot be loaded. The message names the remedy."""

    def describe_to_clients(self) -> str:
        """Return the message with the last part of each path of this machine, and log the message itself."""
        message = str(self)
        shown = _PARENT_FOLDERS.sub("", message)
        if shown != message:
            _logger.error("model_unavailable", reason=message)
        return shown


def raise_if_stopped(listener: DecodingListener) -> None:
    """Raise DecodingStopped if the listener requests a stop."""
    if listener.is_stopped():
        raise DecodingStopped


def settle(work: Callable[[], Done]) -> Done | RowFailure | RowStopped:
    """Return what `work` on a row returns, or what its error stands for."""
    try:
        return work()
    except DecodingStopped:
        return RowStopped()
    except WordsUnsupported as error:
        return RowFailure(FailureCode.WORDS_UNSUPPORTED, str(error))
    except ModelUnavailable as error:  # of a second model, such as the aligner
        return RowFailure(FailureCode.MODEL_UNAVAILABLE, error.describe_to_clients())
    except Exception as error:  # border: an error of the engine fails its job, not the process
        _logger.exception("engine_failed")
        return RowFailure(FailureCode.ENGINE_ERROR, f"The engine failed: {error}")


class Engine(Protocol):
    """A speech recognition engine in the model process. It imports and loads nothing before `load`."""

    @property
    def batch_windows(self) -> int:
        """The most rows that `decode_rows` takes at once; at least 1."""

    @property
    def joins_rows(self) -> bool:
        """Whether more rows join those in decoding (true), or batches are fixed (false)."""

    @property
    def needs_speech(self) -> bool:
        """Whether windows are cut from speech that the VAD found (true) or at fixed lengths (false)."""

    def load(self, report_phase: PhaseReporter) -> str:
        """Load the weights into memory and return their device, such as `cpu` or `cuda:0`.

        Raises:
            ModelUnavailable: the weights are missing or cannot be loaded.
        """

    def decode_rows(
        self, rows: Sequence[Row], take_more: TakeRows = take_no_rows
    ) -> Iterator[tuple[Row, RowOutcome]]:
        """Transcribe the rows of one or more jobs, and yield the outcome of each row as soon as it is known.

        Rows with the same listener are consecutive windows of one job, in order, and end in this order. The
        text of a row does not depend on its neighbours. A row that fails or is stopped ends alone.

        An outcome voids the partials of all windows of its job. So deltas of the next window may come before
        the outcome only if none follow after it.

        An engine that `joins_rows` calls `take_more` at each step with the number of rows that are free, and
        decodes what it returns too. It is done when no row is in decoding, and `take_more` returned none.
        """


@runtime_checkable
class DraftingEngine(Protocol):
    """An engine that has no text before a window is done, but can guess the text earlier."""

    def draft_row(self, row: Row) -> None:
        """Publish a draft of the window's first words as a tail. `decode_rows` decodes that row next.

        Raises:
            DecodingStopped: the listener requested a stop.
        """
