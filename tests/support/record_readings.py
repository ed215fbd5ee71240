"""Readings of jobs of any owner, for tests that do not care why a job is absent."""

from typing import Any, TypeVar

from shared.jobs import Job
from shared.record.readings import Absence, LogPage, find_job, find_log
from shared.record.scripts import ScriptCall

Found = TypeVar("Found")


def read_job(job_id: str) -> ScriptCall[Job | None]:
    """Read a job; None where there is none."""
    return _drop_absence(find_job(job_id, owner=None))


def read_log(job_id: str, *, after_id: str) -> ScriptCall[LogPage | None]:
    """Read the events of a job; None where there is no such job."""
    return _drop_absence(find_log(job_id, owner=None, after_id=after_id))


def _drop_absence(call: ScriptCall[Found | Absence]) -> ScriptCall[Found | None]:
    def parse(reply: Any) -> Found | None:
        found = call.parse(reply)
        return None if isinstance(found, Absence) else found

    return ScriptCall(call.name, call.arguments, parse)
