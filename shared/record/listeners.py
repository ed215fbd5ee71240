"""Listener leases: a job that has one lives only while a client listens to it.

Synchronous calls and streams without an idempotency key submit such jobs. Each api process renews the leases
of the jobs that its clients listen to. A sweeper cancels the jobs whose lease has expired. So no report is
needed when a client disconnects, and no job goes on for the clients of a killed api process.
All functions only describe a call; see `shared.record.transitions`.
"""

from collections.abc import Collection

from shared.jobs import Endpoint
from shared.record.scripts import ScriptCall

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
    """Begin the listener leases of these jobs anew; answers how many of the jobs have one."""
    return ScriptCall("renew_listeners", tuple(job_ids), int)


def drop_listener_lease(job_id: str) -> ScriptCall[bool]:
    """Let the job go on without a listener; false where it has no listener lease."""
    return ScriptCall("drop_listener_lease", (job_id,), bool)


def cancel_unattended(*, ttl_s: float) -> ScriptCall[list[str]]:
    """Cancel up to a hundred jobs whose listener lease has expired, as `cancel_job` does; answers which."""
    return ScriptCall(
        "cancel_unattended", (round(ttl_s * 1000),), lambda reply: [job_id.decode() for job_id in reply]
    )
