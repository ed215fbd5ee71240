"""/docs describes the real fields of each event."""

import typing

import msgspec
import pytest

from api.openapi.event_description import END_MARK, JOB_EVENTS
from api.schemas.openai import TextDelta, TextDone
from api.streams.sse import describe_event
from api.streams.text_streams import encode_delta, encode_end
from shared.events import (
    AnyEvent,
    Cancelled,
    Failed,
    Loading,
    Partial,
    Progress,
    Queued,
    Requeued,
    SegmentDone,
    Started,
    Succeeded,
)
from shared.jobs import FailureCode
from shared.transcripts import Segment, TranscriptWarning, WarningCode, Word

EVENTS: list[AnyEvent] = [
    Queued(2, 6.5),
    Queued(0),
    Started(1, "scripted", "scripted"),
    Loading("weights", 1.5),
    Partial(0, "Good morn", "ing", "en"),
    Partial(1, "Good"),
    SegmentDone(Segment(0.0, 1.5, "Good morning.", language="en", words=(Word(0.0, 0.5, "Good"),))),
    SegmentDone(Segment(0.0, 1.5, "Good morning.")),
    Progress(1.5, 3.0),
    Requeued("worker_lost"),
    Succeeded(is_complete=False, warnings=(TranscriptWarning(WarningCode.TRUNCATED, "no end", 0.0, 1.0),)),
    Failed(FailureCode.TIMEOUT, "It took too long."),
    Cancelled(),
]


def test_every_event_is_described() -> None:
    assert {type(event) for event in EVENTS} == set(typing.get_args(AnyEvent))
    assert {event.type for event in EVENTS} == set(JOB_EVENTS)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_an_event_has_the_fields_that_are_described_and_no_others(event: AnyEvent) -> None:
    kind = JOB_EVENTS[event.type]
    sent = msgspec.json.encode(describe_event(event))
    assert set(msgspec.json.decode(sent)) <= set(kind.model_fields)
    kind.model_validate_json(sent)


def test_the_events_of_a_stream_as_openai_sends_it_are_those_described() -> None:
    (delta,) = encode_delta("Good")
    done, end = encode_end("Good", None)
    assert TextDelta.model_validate_json(delta.data or "").delta == "Good"
    assert TextDone.model_validate_json(done.data or "").text == "Good"
    assert end.data == END_MARK
