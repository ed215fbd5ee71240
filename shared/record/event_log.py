"""The event log of a job: what it tells, in order, from any point on."""

from typing import Any

import msgspec

from shared.events import AnyEvent, decode_event
from shared.jobs import JobState
from shared.record.readings import Absence, ask_for, drop_absence, parse_found
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
    """The state of a job and some of its events after a given id; with `has_more` others follow."""

    state: JobState
    events: tuple[LoggedEvent, ...]
    has_more: bool


def find_log(job_id: str, *, owner: str | None, after_id: str) -> ScriptCall[LogPage | Absence]:
    """Return the events after `after_id`, as many as a page holds, if the job belongs to `owner`.

    The owner is the name of an API key, or None for any.
    """
    args = (job_id, after_id, PAGE_EVENTS, PAGE_BYTES, ask_for(owner))
    return ScriptCall("read_log", args, lambda reply: parse_found(reply, _parse_page))


def read_log(job_id: str, *, after_id: str) -> ScriptCall[LogPage | None]:
    """Return the events after `after_id`, as many as a page holds; None where there is no such job."""
    call = find_log(job_id, owner=None, after_id=after_id)
    return ScriptCall(call.script, call.args, lambda reply: drop_absence(call.parse(reply)))


def _parse_page(reply: Any) -> LogPage:
    state, entries, has_more = reply
    events = tuple(LoggedEvent(event_id.decode(), decode_event(raw)) for event_id, raw in entries)
    return LogPage(JobState(state.decode()), events, bool(has_more))
