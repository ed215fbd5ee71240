"""Descriptions of event streams for /docs: the events of each stream with their data, and an example."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from api.openapi.answers import JOB_ID_HEADER, SUBMIT_HEADERS, refer
from api.schemas import events
from api.schemas.errors import ErrorBody
from api.schemas.jobs import JobErrorBody, ProgressBody
from api.schemas.openai import TextDelta, TextDone
from api.schemas.transcripts import SegmentBody

_STREAM = {"description": "Server-sent events. `x-events` beside this schema has the shapes of an event."}

END_MARK = "[DONE]"
"""The data of the last event of OpenAI's stream."""

EVENT_ID_EXAMPLE = "1763820000000-0"

_PROGRESS_EVENTS: Mapping[str, type[BaseModel]] = {
    "queued": events.QueuedBody,
    "started": events.StartedBody,
    "loading": events.LoadingBody,
    "progress": ProgressBody,
    "requeued": events.RequeuedBody,
}

JOB_EVENTS: Mapping[str, type[BaseModel]] = {
    **_PROGRESS_EVENTS,
    "partial": events.PartialBody,
    "segment": SegmentBody,
    "succeeded": events.SucceededBody,
    "failed": JobErrorBody,
    "cancelled": events.CancelledBody,
}
"""The data of each event of a job, by its name."""

_TEXT_EVENTS: Mapping[str, type[BaseModel]] = {"job": events.JobNamedBody, **_PROGRESS_EVENTS}
_TEXT_BODIES = (events.TextBody, events.FinalTextBody, events.StreamEndBody, ErrorBody)
_DELTA_BODIES = (TextDelta, TextDone, ErrorBody)

EVENT_BODIES: set[type[BaseModel]] = {
    *JOB_EVENTS.values(), *_TEXT_EVENTS.values(), *_TEXT_BODIES, *_DELTA_BODIES,
}  # fmt: skip
"""The data of all events of all streams."""


def describe_job_stream() -> dict[int | str, dict[str, Any]]:
    """Return the response with the events of a job."""
    description = (
        "Named events with JSON as their data. Each has an `id`, which resumes the stream after it. The last "
        "one is `succeeded`, `failed` or `cancelled`. A comment fills each silence of HEARTBEAT_S.\n\n"
        f"{_list_events(JOB_EVENTS)}"
    )
    example = (
        f"event: started\nid: {EVENT_ID_EXAMPLE}\n"
        'data: {"attempt":1,"engine":"qwen3","model":"Qwen/Qwen3-ASR-1.7B"}\n\n'
        'event: succeeded\nid: 1763820004200-0\ndata: {"complete":true,"warnings":[]}\n\n'
    )
    content = _describe_frames(JOB_EVENTS, (), example)
    return {200: {"description": description, "content": content, "headers": JOB_ID_HEADER}}


def describe_text_stream() -> dict[int | str, dict[str, Any]]:
    """Return the response of a streamed transcription: unnamed events for its text, and named ones."""
    description = (
        "Unnamed events with the text so far: `text`, `language`, `is_final`. The final one has all fields of"
        ' the answer without a stream. Then comes `{"done": true}`, or `{"error": {...}}` after a failure. '
        f"Named events report the progress:\n\n{_list_events(_TEXT_EVENTS)}"
    )
    example = (
        'data: {"text":"Good","language":"en","is_final":false}\n\n'
        'data: {"text":"Good morning.","language":"en","is_final":true}\n\ndata: {"done":true}\n\n'
    )
    content = _describe_frames(_TEXT_EVENTS, _TEXT_BODIES, example)
    return {200: {"description": description, "content": content, "headers": SUBMIT_HEADERS}}


def describe_deltas() -> dict[str, Any]:
    """Return the content of OpenAI's stream: unnamed events, the last of which is END_MARK."""
    example = (
        'data: {"type":"transcript.text.delta","delta":"Good morning."}\n\n'
        f'data: {{"type":"transcript.text.done","text":"Good morning."}}\n\ndata: {END_MARK}\n\n'
    )
    content = _describe_frames({}, _DELTA_BODIES, example)
    end = {"type": "object", "properties": {"data": {"const": END_MARK}}}
    content["text/event-stream"]["x-events"]["anyOf"].append(end)
    return content


def _list_events(named: Mapping[str, type[BaseModel]]) -> str:
    return "\n".join(f"- `{name}`: {kind.__doc__}" for name, kind in named.items())


def _describe_frames(
    named: Mapping[str, type[BaseModel]], unnamed: Iterable[type[BaseModel]], example: str
) -> dict[str, Any]:
    frames = [_describe_frame(kind) for kind in unnamed]
    frames += [_describe_frame(kind, event={"const": name}) for name, kind in named.items()]
    # OpenAPI has a keyword for the events of a stream (`itemSchema`) only from 3.2 on.
    return {"text/event-stream": {"schema": _STREAM, "x-events": {"anyOf": frames}, "example": example}}


def _describe_frame(kind: type[BaseModel], **more: Any) -> dict[str, Any]:
    content = {"contentMediaType": "application/json", "contentSchema": refer(kind)}
    return {"type": "object", "properties": {**more, "data": {"type": "string", **content}}}
