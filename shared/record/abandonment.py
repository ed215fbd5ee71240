"""Abandoned jobs: their client left, and a sweep cancels them in time unless somebody follows them.

That is on record, so it does not matter which process saw the client leave, at which one the job is followed,
and which one sweeps. All functions only describe a call; see `shared.record.transitions`. Times are
measured by the Redis server's clock.
"""

from collections.abc import Collection
from typing import Any

from shared.record.scripts import ScriptCall


def abandon_job(job_id: str, *, resume_s: float) -> ScriptCall[bool]:
    """Have the job cancelled in `resume_s` seconds, unless somebody follows it; false where it is over."""
    return ScriptCall("abandon", (job_id, _ms(resume_s)), bool)


def list_abandoned() -> ScriptCall[list[str]]:
    """All jobs that are cancelled in time if nobody follows them; some of them may be over by now."""
    return ScriptCall("list_abandoned", (), _parse_ids)


def put_cancels_off(job_ids: Collection[str], *, resume_s: float) -> ScriptCall[int]:
    """Let those of the jobs that are abandoned be due in `resume_s` seconds; answers how many are."""
    return ScriptCall("put_cancels_off", (_ms(resume_s), *job_ids), int)


def cancel_abandoned(*, ttl_s: float) -> ScriptCall[list[str]]:
    """Cancel the abandoned jobs that are due, as `cancel_job` does, a hundred at once; answers which.

    After an outage or a standstill they are put off instead, so that followers have time to come back.
    """
    return ScriptCall("cancel_abandoned", (_ms(ttl_s),), _parse_ids)


def _parse_ids(reply: Any) -> list[str]:
    return [job_id.decode() for job_id in reply]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
