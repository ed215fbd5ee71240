"""What every engine offers to the model process, and what it is told while it decodes."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec
import numpy as np
import numpy.typing as npt

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import TranscriptionRequest
from shared.transcripts import Segment, TokenCounts, TranscriptWarning

Samples = npt.NDArray[np.float32]

LOADED = "loaded"
"""The phase that ends the loading of a second model; the end of `Engine.load` is that of the first."""


class Span(msgspec.Struct, frozen=True):
    """A stretch of the upload, in samples at 16 kHz: start inclusive, end exclusive."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """How many samples it spans."""
        return self.end - self.start


class Window(msgspec.Struct, frozen=True):
    """A slice of audio decoded at once: the samples of `spans`, one behind the other.

    `samples` is float32 in -1..1 at 16 kHz, shape (sum of span lengths,). `end_sample` is where in the
    upload the next window may begin: all audio before it is either in this window or earlier, or silence.
    `pauses` are where in `samples`, in mid-silence, one stretch of speech ends and another begins.
    """

    index: int
    spans: tuple[Span, ...]
    samples: Samples
    end_sample: int
    pauses: tuple[int, ...] = ()

    def to_upload_s(self, window_s: float) -> float:
        """The time in the upload, in seconds, of a moment `window_s` seconds into this window.

        A moment at the seam of two spans belongs to the earlier; moments outside are clamped.
        """
        position = max(0.0, window_s * SAMPLE_RATE_HZ)
        for span in self.spans:
            if position <= span.length:
                return (span.start + position) / SAMPLE_RATE_HZ
            position -= span.length
        return self.spans[-1].end / SAMPLE_RATE_HZ


class WindowTranscript(msgspec.Struct, frozen=True):
    """What an engine made of one window; the segments' times are seconds of the upload, not of the window."""

    segments: tuple[Segment, ...]
    warnings: tuple[TranscriptWarning, ...] = ()
    is_complete: bool = True  # false where speech may be missing from the text
    token_counts: TokenCounts | None = None  # None where the engine does not know


class DecodingListener(Protocol):
    """Whoever follows the decoding of one job, called from the decoding thread."""

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        """`delta` is appended to the text of `window`; `tail` comes after it and may still change.

        Nothing is appended to a window before the ones ahead of it are complete. `language` is that in which
        the text of the window begins, if it is known: whether a space belongs before it depends on that.
        """

    def is_stopped(self) -> bool:
        """Whether the engine must stop as soon as it can; it then raises DecodingStopped."""


class DecodingStopped(Exception):
    """Raised by an engine out of `decode_windows` because its listener said stop."""


class WordsUnsupported(Exception):
    """Raised by an engine out of `decode_windows`: word timestamps are required, for a language without them.

    The message says which language that is, and what to do.
    """


class ModelUnavailable(Exception):
    """Raised where the weights of a model cannot be had; the message names the remedy."""


class Engine(Protocol):
    """One speech recognition engine in the model process. Nothing is imported or loaded before `load`."""

    @property
    def batch_windows(self) -> int:
        """How many windows `decode_windows` takes at once at the most; at least 1."""

    @property
    def needs_speech(self) -> bool:
        """Whether windows are cut from speech found by the VAD (true) or at fixed lengths (false)."""

    def load(self, report_phase: "PhaseReporter") -> str:
        """Bring the weights into memory and return the device they are on, such as `cpu` or `cuda:0`.

        Raises:
            ModelUnavailable: the weights cannot be had.
        """

    def decode_windows(
        self,
        windows: Sequence[Window],
        request: TranscriptionRequest,
        listener: DecodingListener,
        *,
        previous_language: str | None = None,
    ) -> list[WindowTranscript]:
        """Transcribe the windows of one upload and return one transcript each, in order.

        `previous_language` is that of the speech before these windows, for one whose own is in doubt.

        Raises:
            DecodingStopped: the listener said stop.
            WordsUnsupported: the request requires word timestamps, and a language was detected that has none.
            ModelUnavailable: it needs a second model, such as one that times words, which cannot be had.
        """


@runtime_checkable
class DraftingEngine(Protocol):
    """An engine that has no text before a window is done, but a way to guess it sooner."""

    def draft_window(self, window: Window, request: TranscriptionRequest, listener: DecodingListener) -> None:
        """Tell the listener a draft of the window's text, as a tail; `decode_windows` is asked for it next.

        Raises:
            DecodingStopped: the listener said stop.
        """


class PhaseReporter(Protocol):
    """Told when a phase of loading begins: in `load`, or later of a second model, which ends with LOADED."""

    def __call__(self, phase: str, /) -> None:
        """`phase` names what is done now, in a word or two."""
