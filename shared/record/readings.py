"""Readings of the record: one job, the list of jobs, and the event log of a job."""

from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from shared.events import AnyEvent, Queued, event_decoder
from shared.jobs import DeliveryAttempt, Failure, Job, JobState, NewJob, Priority
from shared.record.backlog import Backlog
from shared.record.scripts import ScriptCall
from shared.transcripts import Segment, TokenCounts, TranscriptWarning

MAX_LOOKS = 500
"""The number of jobs that one call for the list looks at. Redis does nothing else meanwhile."""

LOG_START = "0"
"""The event id before the first event."""

PAGE_EVENTS = 500
"""The largest number of events in a page of the log."""

PAGE_BYTES = 64 << 10
"""The size of a page of the log, without its last event. A stalled listener costs a page of memory."""

Found = TypeVar("Found")

_fields_decoder = msgspec.json.Decoder(list[str])


class Absence(StrEnum):
    """Why an owner is not given a job."""

    UNKNOWN = "unknown"  # there is no such job, or it belongs to another API key; callers cannot tell which
    GONE = "gone"  # it was the owner's, and its TTL is over


class ListedJob(msgspec.Struct, frozen=True):
    """A job without segments, warnings and deliveries. Newer jobs have a higher `number`."""

    number: int
    job: Job


class ListPage(msgspec.Struct, frozen=True):
    """Some jobs, newest first. With `is_end` there is none after `looked_to`, the last job looked at."""

    jobs: tuple[ListedJob, ...]
    looked_to: int | None
    is_end: bool


class LoggedEvent(msgspec.Struct, frozen=True):
    """An event and its id. The ids of a job's events are in order."""

    event_id: str
    event: AnyEvent


class LogPage(msgspec.Struct, frozen=True):
    """The state of a job and some of its events; with `has_more` others follow."""

    state: JobState
    events: tuple[LoggedEvent, ...]
    has_more: bool


class _LoggedQueued(msgspec.Struct, frozen=True, tag_field="type", tag="queued"):
    """A `queued` event as the script logs it: the time of the job's end is estimated by its readers."""

    position: int
    audio_ms: int = 0
    is_interactive: bool = False
    backlog: Backlog | None = None

    @property
    def eta_s(self) -> float | None:
        if self.backlog is None:
            return None
        return self.backlog.estimate_eta_s(self.audio_ms, self.position, is_interactive=self.is_interactive)


def find_job(job_id: str, *, owner: str | None) -> ScriptCall[Job | Absence]:
    """Read a job as it stands, with its segments so far, if it belongs to `owner`.

    The owner is the name of an API key, or None for any.
    """

    def parse(reply: Any) -> Job:
        fields, position, backlog, segments, warnings, deliveries = reply
        job = _parse_job(fields, position, msgspec.json.decode(backlog, type=Backlog) if backlog else None)
        return msgspec.structs.replace(
            job,
            segments=tuple(msgspec.json.decode(segment, type=Segment) for segment in segments),
            warnings=tuple(msgspec.json.decode(warning, type=TranscriptWarning) for warning in warnings),
            deliveries=tuple(msgspec.json.decode(delivery, type=DeliveryAttempt) for delivery in deliveries),
        )

    arguments = {"job_id": job_id, "owner": owner}
    return ScriptCall("read_job", arguments, lambda reply: parse_found(reply, parse))


def list_jobs(
    *,
    limit: int,
    key_name: str | None = None,
    states: Collection[JobState] = (),
    after: int | None = None,
) -> ScriptCall[ListPage]:
    """List up to `limit` jobs after the number `after`, of one API key or all, in some states or any.

    The page may have fewer jobs although there are more: the next call then goes on after `looked_to`.
    """
    arguments = {
        "list": "all" if key_name is None else f"key:{key_name}",
        "states": sorted(states) or None,
        "before": "+inf" if after is None else f"({after}",
        "limit": limit,
        "max_looks": MAX_LOOKS,
    }
    return ScriptCall("list", arguments, _parse_list)


def find_log(job_id: str, *, owner: str | None, after_id: str) -> ScriptCall[LogPage | Absence]:
    """Read the events after `after_id`, as many as a page holds, if the job belongs to `owner`.

    The owner is the name of an API key, or None for any.
    """
    arguments = {
        "job_id": job_id,
        "owner": owner,
        "after_id": after_id,
        "max_events": PAGE_EVENTS,
        "max_bytes": PAGE_BYTES,
    }
    return ScriptCall("read_log", arguments, lambda reply: parse_found(reply, _parse_log))


def parse_found(reply: Any, parse: Callable[[Any], Found]) -> Found | Absence:
    """Return what `parse` makes of a reply, unless the owner has no such job."""
    if reply is None:
        return Absence.UNKNOWN
    return Absence.GONE if reply == b"gone" else parse(reply)


def _parse_job(encoded: bytes, position: int | None, backlog: Backlog | None) -> Job:
    flat = _fields_decoder.decode(encoded)
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    state, new_job = JobState(fields["state"]), msgspec.json.decode(fields["new_job"], type=NewJob)
    if state.is_final:
        backlog = None
    processed_s = float(fields["processed_s"])
    left_ms = max(0, int(fields["audio_ms"]) - int(processed_s * 1000))
    inference_ms = int(fields.get("inference_ms", 0))
    speed = processed_s * 1000 / inference_ms if state is JobState.RUNNING and inference_ms else None
    is_interactive = new_job.priority is Priority.INTERACTIVE
    return Job(
        **msgspec.structs.asdict(new_job),
        state=state,
        created_ms=int(fields["created_ms"]),
        attempt=1 + int(fields["worker_losses"]) + int(fields["engine_crashes"]),
        started_ms=int(fields["started_ms"]) if "started_ms" in fields else None,
        finished_ms=int(fields["finished_ms"]) if "finished_ms" in fields else None,
        processed_s=processed_s,
        failure=msgspec.json.decode(fields["failure"], type=Failure) if "failure" in fields else None,
        position=position,
        eta_s=backlog.estimate_eta_s(left_ms, position, is_interactive=is_interactive, own_speed=speed)
        if backlog
        else None,
        model_state=backlog.find_model_state(fields.get("owner")) if backlog else None,
        inference_ms=inference_ms,
        is_cancel_requested=state is JobState.RUNNING and "cancel" in fields,
        engine=fields.get("engine"),
        model=fields.get("model"),
        is_complete=state is JobState.SUCCEEDED and "incomplete" not in fields,
        token_counts=_parse_counts(fields),
    )


def _parse_counts(fields: Mapping[str, str]) -> TokenCounts | None:
    counts = {name: fields.get(f"tokens_{name}") for name in TokenCounts.__struct_fields__}
    if "has_uncounted" in fields or None in counts.values():
        return None
    return TokenCounts(**{name: int(count) for name, count in counts.items() if count is not None})


def _parse_list(reply: Any) -> ListPage:
    entries, looked_to, is_end, raw_backlog = reply
    backlog = msgspec.json.decode(raw_backlog, type=Backlog)
    jobs = tuple(
        ListedJob(int(number), _parse_job(fields, position, backlog)) for number, fields, position in entries
    )
    return ListPage(jobs, int(looked_to) if looked_to else None, bool(is_end))


def _parse_log(reply: Any) -> LogPage:
    state, entries, has_more = reply
    events = tuple(LoggedEvent(event_id.decode(), _parse_event(raw)) for event_id, raw in entries)
    return LogPage(JobState(state.decode()), events, bool(has_more))


def _parse_event(raw: bytes) -> AnyEvent:
    event = event_decoder.decode(raw)
    if isinstance(event, Queued) and event.eta_s is None:
        return Queued(event.position, msgspec.json.decode(raw, type=_LoggedQueued).eta_s)
    return event
