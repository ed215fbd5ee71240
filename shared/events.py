"""The events in a job's log, as a closed union of small classes.

The job record is the truth. A client that missed every event still gets the answer from the record.
"""

import msgspec

from shared.jobs import FailureCode
from shared.transcripts import Segment, TranscriptWarning


class Event(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower):
    """The base of all events. The tag, by default the class name in lower case, is the `type` in JSON."""

    @property
    def is_final(self) -> bool:
        """Return whether this is the last event of its job."""
        return isinstance(self, Succeeded | Failed | Cancelled)

    @property
    def type(self) -> str:
        """Return the event's name in JSON."""
        return str(self.__struct_config__.tag)


class Queued(Event, frozen=True):
    """The job was accepted. `position` is the number of jobs ahead of it.

    `eta_s` is the estimate at that time of the seconds until it is done; None if there was no estimate.
    """

    position: int
    eta_s: float | None = None


class Started(Event, frozen=True):
    """A worker claimed the job, and will transcribe it with this engine and model.

    The jobs that the worker holds by now use `rows_in_use` of the `max_rows` windows of its next batch.
    """

    attempt: int
    engine: str
    model: str
    rows_in_use: int = 1
    max_rows: int = 1


class Loading(Event, frozen=True):
    """A phase of loading the model began, `elapsed_s` after its start. The last phase is `loaded`."""

    phase: str
    elapsed_s: float


class Partial(Event, frozen=True):
    """New text of an open window: `delta` is appended, `tail` may still change.

    `language` is the language at the start of the window's text, if the engine knows it by now.
    """

    window: int
    delta: str
    tail: str = ""
    language: str | None = None


class SegmentDone(Event, frozen=True, tag="segment"):
    """A segment of a finished window. It replaces the partials of that window."""

    segment: Segment


class Progress(Event, frozen=True):
    """The seconds of audio that are done, and the seconds in all."""

    processed_s: float
    duration_s: float


class Requeued(Event, frozen=True):
    """The job is queued again, and will resume at its checkpoint. Partials of open windows are void."""

    reason: str


class Succeeded(Event, frozen=True):
    """Final: the transcript is in the job record, with the same warnings."""

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

event_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
