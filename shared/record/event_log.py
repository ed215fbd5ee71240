"""The event log of a job: what it tells, in order, from any point on."""

from typing import Any

import msgspec

from shared.events import AnyEvent, decode_event
from shared.jobs import JobState
from shared.record.scripts import ScriptCall

LOG_START = "0"
"""The event id to read from in order to get the whole log."""

PAGE_EVENTS = 500
"""How many events one reading answers at the most."""

PAGE_BYTES = 64 << 10
"""How many bytes of events one reading answers, but for the last one: a page is what a listener that is slow
or stands still costs in memory."""


class LoggedEvent(msgspec.Struct, frozen=True):
    """An event and its id, which orders it among the events of its job."""

    event_id: str
    event: AnyEvent


class LogPage(msgspec.Struct, frozen=True):
    """The state of a job and some of its events behind a given id; `has_more` says that others follow."""

    state: JobState
    events: tuple[LoggedEvent, ...]
    has_more: bool


def read_log(job_id: str, *, after_id: str) -> ScriptCall[LogPage | None]:
    """The events behind `after_id`, as many as a page holds; None where there is no such job."""
    return ScriptCall("read_log", (job_id, after_id, PAGE_EVENTS, PAGE_BYTES), _parse_page)


def _parse_page(reply: Any) -> LogPage | None:
    if reply is None:
        return None
    state, entries, has_more = reply
    events = tuple(LoggedEvent(event_id.decode(), decode_event(raw)) for event_id, raw in entries)
    return LogPage(JobState(state.decode()), events, bool(has_more))
