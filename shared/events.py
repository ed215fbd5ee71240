"""Events: what the log of a job tells its listeners, as a closed union of small classes.

Events only tell; the truth is the job record. Whoever missed them all still gets the answer from it.
"""

import msgspec

from shared.jobs import FailureCode
from shared.transcripts import Segment, TranscriptWarning


class Event(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower):
    """Base of all events; the class name in lower case is the `type` on the wire."""

    @property
    def is_final(self) -> bool:
        """Whether this is the last event of its job."""
        return isinstance(self, Succeeded | Failed | Cancelled)

    @property
    def type(self) -> str:
        """The event's name on the wire."""
        return type(self).__name__.lower()


class Queued(Event, frozen=True):
    """The job was accepted; `position` counts the jobs ahead of it.

    `eta_s` are the seconds until it is done, as far as could be told then; None where it could not.
    """

    position: int
    eta_s: float | None = None


class Started(Event, frozen=True):
    """A worker claimed the job, to transcribe it with this engine and model."""

    attempt: int
    engine: str
    model: str


class Loading(Event, frozen=True):
    """The model is being loaded; `elapsed_s` since its loading began, and `phase` is `loaded` at the end."""

    phase: str
    elapsed_s: float


class Partial(Event, frozen=True):
    """What is new in the open window: `delta` is appended, `tail` may still change.

    `language` is that in which the text of the window begins, if the engine knows it by now.
    """

    window: int
    delta: str
    tail: str = ""
    language: str | None = None


class SegmentDone(Event, frozen=True, tag="segment"):
    """A segment of a finished window; it replaces that window's partials."""

    segment: Segment

    @property
    def type(self) -> str:
        """The event's name on the wire."""
        return "segment"


class Progress(Event, frozen=True):
    """How much of the audio is done, in seconds of it."""

    processed_s: float
    duration_s: float


class Requeued(Event, frozen=True):
    """The job is queued again and goes on at its checkpoint; partials of the open window are void."""

    reason: str


class Succeeded(Event, frozen=True):
    """Final: the transcript is in the job; what is said here of it is what the job says."""

    is_complete: bool = True
    warnings: tuple[TranscriptWarning, ...] = ()


class Failed(Event, frozen=True):
    """Final: the job failed."""

    code: FailureCode
    message: str


class Cancelled(Event, frozen=True):
    """Final: the job was cancelled."""


AnyEvent = (
    Queued | Started | Loading | Partial | SegmentDone | Progress | Requeued | Succeeded | Failed | Cancelled
)

_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_encoder = msgspec.json.Encoder()


def encode_event(event: Event) -> bytes:
    """The event as JSON on one line."""
    return _encoder.encode(event)


def decode_event(raw: bytes) -> AnyEvent:
    """The event that `raw` holds.

    Raises:
        msgspec.ValidationError: `raw` is no event.
    """
    return _decoder.decode(raw)
