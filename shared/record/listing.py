"""The list of jobs, newest first: read in pages of bounded work, and rid of jobs whose TTL is over."""

from collections.abc import Collection
from typing import Any

import msgspec

from shared.jobs import Job, JobState
from shared.record.readings import parse_job
from shared.record.scripts import ScriptCall
from shared.record.workers import PRESENCE_TTL_S

LOOKED_AT_ONCE = 500
"""How many jobs one call looks at, at the most: Redis does nothing else meanwhile."""


class ListedJob(msgspec.Struct, frozen=True):
    """A job without its segments and warnings. `number` is its place in the list: newer ones have higher."""

    number: int
    job: Job


class ListPage(msgspec.Struct, frozen=True):
    """Some jobs, newest first. With `is_end` no other is behind `looked_to`, the last that was looked at."""

    jobs: tuple[ListedJob, ...]
    looked_to: int | None
    is_end: bool


def list_jobs(
    *,
    limit: int,
    key_name: str | None = None,
    states: Collection[JobState] = (),
    after: int | None = None,
) -> ScriptCall[ListPage]:
    """At most `limit` jobs behind the number `after`, of one API key or of all, in some states or in any.

    They may be fewer although there are more: then the next call goes on behind `looked_to`.
    """
    whose = "all" if key_name is None else f"key:{key_name}"
    asked = msgspec.json.encode(sorted(states))
    before = "+inf" if after is None else f"({after}"
    args = (whose, asked, before, limit, LOOKED_AT_ONCE, round(PRESENCE_TTL_S * 1000))
    return ScriptCall("list", args, _parse_page)


def forget_jobs() -> ScriptCall[int]:
    """final → gone: list jobs whose TTL is over no longer, a hundred of them at once; answers how many."""
    return ScriptCall("forget", (), int)


def _parse_page(reply: Any) -> ListPage:
    entries, looked_to, is_end = reply
    return ListPage(
        jobs=tuple(_parse_entry(*entry) for entry in entries),
        looked_to=int(looked_to) if looked_to else None,
        is_end=bool(is_end),
    )


def _parse_entry(number: bytes, job_id: bytes, record: Any, standing: Any) -> ListedJob:
    return ListedJob(int(number), parse_job(job_id.decode(), (record, standing, (), (), ())))
