"""How streams of server-sent events are described in /docs: each event that there is, with its data."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.schemas.base import Body
from api.schemas.errors import ErrorBody
from api.schemas.events import (
    CancelledBody,
    JobNamedBody,
    LoadingBody,
    PartialBody,
    QueuedBody,
    RequeuedBody,
    StartedBody,
    StreamEndBody,
    SucceededBody,
    TextBody,
)
from api.schemas.jobs import JobErrorBody, ProgressBody
from api.schemas.openai import TextDelta, TextDone, TranscriptionAnswer
from api.schemas.transcripts import SegmentBody

END_MARK = "[DONE]"
"""The data of the last event of a stream as OpenAI sends it."""

_REFERENCE = "#/components/schemas/{model}"

_PROGRESS_EVENTS: Mapping[str, type[Body]] = {
    "queued": QueuedBody,
    "started": StartedBody,
    "loading": LoadingBody,
    "progress": ProgressBody,
    "requeued": RequeuedBody,
}

JOB_EVENTS: Mapping[str, type[Body]] = {
    **_PROGRESS_EVENTS,
    "partial": PartialBody,
    "segment": SegmentBody,
    "succeeded": SucceededBody,
    "failed": JobErrorBody,
    "cancelled": CancelledBody,
}
"""The data of each event of a job, by its name."""

_FINAL_TEXT = {
    "allOf": [{"$ref": _REFERENCE.format(model=TranscriptionAnswer.__name__)}],
    "properties": {"is_final": {"type": "boolean", "const": True}},
    "required": ["is_final"],
}

_ID = {
    "type": "string",
    "pattern": "^[0-9]+-[0-9]+$",
    "description": "What to send as `Last-Event-ID` to go on behind this event.",
    "examples": ["1763820000000-0"],
}
_RETRY = {
    "type": "integer",
    "minimum": 0,
    "description": "Milliseconds to wait before coming back after the stream was cut off.",
    "examples": [1500],
}


def describe_job_events() -> dict[str, Any]:
    """One event of a job: it has a name, and an id to go on from."""
    return {"oneOf": [_describe_named(name, kind, {"id": _ID}) for name, kind in JOB_EVENTS.items()]}


def describe_stream_events() -> dict[str, Any]:
    """One event of a transcription as a stream: text without a name, all else beside it."""
    texts = [_refer(TextBody), _FINAL_TEXT, _refer(StreamEndBody), _refer(ErrorBody)]
    named = [_describe_named(name, kind) for name, kind in _PROGRESS_EVENTS.items()]
    return {"oneOf": [_describe_unnamed(texts), _describe_named("job", JobNamedBody), *named]}


def describe_deltas() -> dict[str, Any]:
    """One event of a stream as OpenAI sends it."""
    texts = [_refer(TextDelta), _refer(TextDone), _refer(ErrorBody)]
    end = {"type": "object", "required": ["data"], "properties": {"data": {"const": END_MARK}}}
    return {"oneOf": [_describe_unnamed(texts), end]}


def describe_event_bodies() -> dict[str, Any]:
    """The schemas of all that the data of events may be, by name."""
    kinds: set[type[BaseModel]] = {
        *JOB_EVENTS.values(), JobNamedBody, TextBody, StreamEndBody, TextDelta, TextDone,
        TranscriptionAnswer, ErrorBody,
    }  # fmt: skip
    ordered = sorted(kinds, key=lambda kind: kind.__name__)
    _, described = models_json_schema([(kind, "serialization") for kind in ordered], ref_template=_REFERENCE)
    return dict(described["$defs"])


def _describe_named(name: str, kind: type[Body], more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "description": kind.__doc__,
        "required": ["event", "data", *(more or {})],
        "properties": {
            "event": {"const": name},
            "data": _describe_data(_refer(kind)),
            "retry": _RETRY,
            **(more or {}),
        },
    }


def _describe_unnamed(contents: list[dict[str, Any]]) -> dict[str, Any]:
    # What has no name is a `message` to those that receive it.
    return {
        "type": "object",
        "required": ["data"],
        "properties": {"event": {"const": "message"}, "data": _describe_data({"anyOf": contents})},
    }


def _describe_data(content: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "string", "contentMediaType": "application/json", "contentSchema": content}


def _refer(kind: type[Body]) -> dict[str, Any]:
    return {"$ref": _REFERENCE.format(model=kind.__name__)}
