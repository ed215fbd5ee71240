"""Deliveries: webhook requests that report the end of a job, each on record until it has come to its end.

The script that ends a job with a `webhook_url` also opens its delivery. The job's TTL begins only with the
end of the delivery. An attempt leases the delivery, and `claim_no` is the fence, as with jobs.
"""

from collections.abc import Collection
from typing import Any

import msgspec

from shared.jobs import DeliveryOutcome, Failure, JobState, NewJob
from shared.record.scripts import ScriptCall, to_json, to_ms

_INTERRUPTED = DeliveryOutcome(error="The attempt was interrupted; whether the receiver has it is unknown.")


class Delivery(msgspec.Struct, frozen=True):
    """A leased delivery. `claim_no` counts its attempts, this one included; the job ended at `ended_ms`."""

    new_job: NewJob
    claim_no: int
    state: JobState
    failure: Failure | None
    ended_ms: int

    @property
    def job_id(self) -> str:
        """The id of the job that ended, which has no other delivery."""
        return self.new_job.job_id


class NoneDue(msgspec.Struct, frozen=True):
    """The result where none is due. One may be due in `next_s` seconds; None where none is planned.

    `unsigned` counts due deliveries that are left to an api with their secret.
    """

    next_s: float | None
    unsigned: int = 0


class ClaimTerms(msgspec.Struct, frozen=True):
    """The lease of an attempt, the limits after which a delivery is given up, and the secrets of the caller.

    A delivery is given up after `max_attempts`, or `give_up_s` seconds after its job's end. `signing_keys`
    names the API keys with a secret of their own.
    """

    lease_s: float
    max_attempts: int
    give_up_s: float
    has_server_secret: bool = True
    signing_keys: frozenset[str] = frozenset()


def claim_delivery(
    token: str, terms: ClaimTerms, full_hosts: Collection[str] = ()
) -> ScriptCall[Delivery | NoneDue]:
    """Lease the next due delivery that can be signed, passing over `full_hosts`. Other hosts take turns.

    A call repeated with the same `token` returns the same delivery. An attempt whose lease ended without a
    report is logged as interrupted. The delivery is then attempted again, unless it has reached its limits.
    """
    arguments = {
        "token": token,
        "lease_ms": to_ms(terms.lease_s),
        "max_attempts": terms.max_attempts,
        "give_up_ms": to_ms(terms.give_up_s),
        "interrupted": to_json(_INTERRUPTED),
        "full_hosts": list(full_hosts),
        "has_server_secret": terms.has_server_secret,
        "signing_keys": list(terms.signing_keys),
    }
    return ScriptCall("claim_delivery", arguments, _parse_claim)


def report_delivery(
    delivery: Delivery, outcome: DeliveryOutcome, *, wait_s: float | None = None
) -> ScriptCall[str]:
    """Log an attempt and plan the next in `wait_s` seconds; without it, begin the job's TTL.

    Returns `retried`, `ended` or `stale`; safe to repeat.
    """
    arguments = {
        "job_id": delivery.job_id,
        "claim_no": delivery.claim_no,
        "outcome": to_json(outcome),
        "wait_ms": None if wait_s is None else to_ms(wait_s),
    }
    return ScriptCall("report_delivery", arguments, bytes.decode)


def _parse_claim(reply: Any) -> Delivery | NoneDue:
    match reply:
        case [next_ms, unsigned]:
            return NoneDue(None if next_ms is None else next_ms / 1000, unsigned)
    _, claim_no, new_job, state, failure, ended_ms = reply
    return Delivery(
        new_job=msgspec.json.decode(new_job, type=NewJob),
        claim_no=claim_no,
        state=JobState(state.decode()),
        failure=msgspec.json.decode(failure, type=Failure) if failure else None,
        ended_ms=ended_ms,
    )
