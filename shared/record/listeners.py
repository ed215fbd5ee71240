"""Listener leases: a job that has one lives only while a client listens to it.

Synchronous calls and streams without an idempotency key submit such jobs. Each api process renews the leases
of the jobs that its clients listen to. A sweeper cancels the jobs whose lease has expired. So no report is
needed when a client disconnects, and no job goes on for the clients of a killed api process.
"""

from collections.abc import Collection

from shared.jobs import Endpoint
from shared.record.keys import Key
from shared.record.scripts import PlainCall, ScriptCall, parse_pairs, to_ms

RENEWAL_S = 3.0
"""Seconds between two renewals by an api process."""

PATIENCE_S = 30.0
"""Seconds for which the api keeps a client waiting while Redis does not answer."""


def choose_lease_s(endpoint: Endpoint, *, resume_s: float) -> float:
    """Return the seconds that a listener lease of this endpoint lasts; 0 where a job needs no listener.

    A stream without a listener goes on for at least `resume_s`. Other jobs are cancelled at once when their
    client disconnects, and their lease only matters if that fails. It outlasts PATIENCE_S, so that a client
    which waits through an outage between api and Redis still finds its job. Two renewals are added to both:
    the last one may be that long ago, and one may fail.
    """
    if endpoint is Endpoint.JOBS:
        return 0.0
    is_resumable = endpoint is Endpoint.STREAM and resume_s > 0
    return (resume_s if is_resumable else PATIENCE_S) + 2 * RENEWAL_S


def renew_listener_leases(job_ids: Collection[str]) -> ScriptCall[int]:
    """Renew the listener leases of these jobs. Returns how many of the jobs have one."""
    return ScriptCall("renew_listeners", {"job_ids": list(job_ids)}, int)


def drop_listener_lease(job_id: str) -> PlainCall[bool]:
    """Let the job go on without a listener; false where it has no listener lease."""
    return PlainCall((("ZREM", Key.LISTENER_LEASES, job_id),), lambda replies: bool(replies[0]))


def cancel_unattended(*, ttl_s: float) -> ScriptCall[dict[str, str]]:
    """Cancel up to a hundred jobs whose listener lease has expired. Returns their states before, by id."""
    return ScriptCall("cancel_unattended", {"ttl_ms": to_ms(ttl_s)}, parse_pairs)
