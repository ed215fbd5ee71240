"""A page of the list of jobs, put together from as many readings of bounded work as it takes."""

from collections.abc import Collection

from api.formats.job_rendering import render_listed_job
from api.schemas.jobs import JobList
from api.streams.following import JobFollower
from shared.jobs import JobState
from shared.record.listing import ListedJob, list_jobs

READINGS = 20
"""How often one page is read on at the most, where few jobs are in the states that are asked for."""


async def read_job_list(
    follower: JobFollower,
    *,
    key_name: str | None,
    states: Collection[JobState],
    after: int | None,
    limit: int,
) -> JobList:
    """At most `limit` jobs behind the number `after`, newest first; of one API key, or with None of all.

    Raises:
        QueueUnavailable: Redis has not answered for long.
    """
    found: list[ListedJob] = []
    looked_to = after
    is_end = False
    for _ in range(READINGS):
        # One more than is asked for tells whether there is more.
        wanted = limit + 1 - len(found)
        call = list_jobs(limit=wanted, key_name=key_name, states=states, after=looked_to)
        page = await follower.run_patiently(call)
        found += page.jobs
        looked_to, is_end = page.looked_to or looked_to, page.is_end
        if is_end or len(found) > limit:
            break
    if len(found) > limit:
        looked_to, is_end = found[limit - 1].number, False
    return JobList(
        data=[render_listed_job(listed.job) for listed in found[:limit]],
        has_more=not is_end,
        next_cursor=None if is_end else str(looked_to),
    )
