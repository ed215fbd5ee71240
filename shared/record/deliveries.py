"""Deliveries: telling somebody's server how a job ended, each on record until that has come to an end.

A delivery comes into being with the final state of a job that has a `webhook_url`, in the same script, and
the job is there until it has ended, and JOB_TTL_S longer. While
it is tried it is leased, and `claim_no` is the fence, as with jobs. All functions only describe a call; see
`shared.record.transitions`. Times are measured by the Redis server's clock.
"""

from enum import StrEnum
from typing import Any

import msgspec

from shared.jobs import DeliveryOutcome, Failure, JobState, NewJob
from shared.record.scripts import ScriptCall

UNTRIED_TTL_S = 259_200.0
"""Seconds after which a delivery is given up that nobody has tried, as where nothing delivers, or where more
are due to a slow receiver than it takes: three days. What its planned tries take comes on top."""

DELIVERER_TTL_S = 15.0
"""Seconds after which a deliverer that has not looked for deliveries counts as gone."""

PUT_OFF_S = 0.1
"""Seconds by which a delivery is put off at the least while there is no room for it."""

STANDING_TTL_S = 3_600.0
"""Seconds for which it is known how a receiver stands."""

_INTERRUPTED = DeliveryOutcome(error="The server was interrupted, and does not know whether it was received.")

_new_job = msgspec.json.Decoder(NewJob)
_failure = msgspec.json.Decoder(Failure)


class Standing(StrEnum):
    """How a receiver stands by its last try: it decides how many deliveries it may hold up."""

    NEW = "new"  # there was none of late
    QUICK = "quick"  # it was over soon, whatever it came to
    SLOW = "slow"  # it took long, or there was no answer at all


class Delivery(msgspec.Struct, frozen=True):
    """A delivery that is leased. `claim_no` counts its tries, this one too; the job ended at `ended_ms`."""

    new_job: NewJob
    claim_no: int
    state: JobState
    failure: Failure | None
    ended_ms: int
    standing: Standing = Standing.NEW

    @property
    def job_id(self) -> str:
        """The job that ended; there is one delivery for each."""
        return self.new_job.job_id


class NoneDue(msgspec.Struct, frozen=True):
    """No delivery is due; the next one is in `next_s` seconds, None where there is none at all."""

    next_s: float | None


class ClaimTerms(msgspec.Struct, frozen=True):
    """On what terms deliveries are claimed: for how long, how often at the most, and by whom.

    All tries of one take `plan_s` seconds, if they are made when they are due.
    """

    lease_s: float
    most_tries: int
    deliverer_id: str = ""
    plan_s: float = 0.0


class Closed(msgspec.Struct, frozen=True):
    """For what a deliverer has no room now: receivers (hosts), names of API keys, and kinds of receivers.

    Receivers in `unless_quick` get one more if they are quick.
    """

    receivers: tuple[str, ...] = ()
    unless_quick: tuple[str, ...] = ()
    key_names: tuple[str, ...] = ()
    standings: tuple[Standing, ...] = ()


_NOTHING_CLOSED = Closed()


def claim_delivery(
    token: str, terms: ClaimTerms, closed: Closed = _NOTHING_CLOSED
) -> ScriptCall[Delivery | NoneDue]:
    """Lease the delivery that is due for the longest, but none for which there is no room.

    A call that is repeated with the same `token` answers the same delivery. A try whose lease has ended
    without a report is logged as interrupted, and made again, unless it was the last.
    """
    args = (
        token,
        _ms(terms.lease_s),
        terms.most_tries,
        _json(closed),
        _json(_INTERRUPTED),
        _ms(PUT_OFF_S),
        terms.deliverer_id,
        _ms(DELIVERER_TTL_S),
        _ms(terms.plan_s + UNTRIED_TTL_S),
    )
    return ScriptCall("claim_delivery", args, _parse_claim)


def end_delivery(
    delivery: Delivery, outcome: DeliveryOutcome, standing: Standing = Standing.QUICK
) -> ScriptCall[str]:
    """Log a try that is the last one: the job's TTL begins. Answers `ended`, or `stale`; safe to repeat."""
    return _report(delivery, outcome, "", standing)


def put_delivery_off(
    delivery: Delivery, outcome: DeliveryOutcome, standing: Standing = Standing.QUICK, *, wait_s: float
) -> ScriptCall[str]:
    """Log a try, and make the next in `wait_s` seconds. Answers `put_off`, or `stale`; safe to repeat."""
    return _report(delivery, outcome, str(_ms(wait_s)), standing)


def needs_delivery_ticket(broker_queue: str) -> ScriptCall[bool]:
    """Whether a delivery is due while no ticket is on its way to who delivers."""
    return ScriptCall("needs_delivery_ticket", (broker_queue, _ms(UNTRIED_TTL_S)), bool)


def read_deliverers() -> ScriptCall[list[str]]:
    """The ids of all deliverers that are alive."""
    return ScriptCall(
        "read_deliverers", (_ms(DELIVERER_TTL_S),), lambda reply: [found.decode() for found in reply]
    )


def _report(
    delivery: Delivery, outcome: DeliveryOutcome, wait_ms: str, standing: Standing
) -> ScriptCall[str]:
    known_ms = _ms(STANDING_TTL_S)
    args = (delivery.job_id, delivery.claim_no, _json(outcome), wait_ms, standing.value, known_ms)
    return ScriptCall("report_delivery", args, lambda reply: str(reply.decode()))


def _parse_claim(reply: Any) -> Delivery | NoneDue:
    match reply:
        case None:
            return NoneDue(None)
        case [next_ms]:
            return NoneDue(next_ms / 1000)
    _, claim_no, new_job, state, failure, ended_ms, standing = reply
    return Delivery(
        new_job=_new_job.decode(new_job),
        claim_no=claim_no,
        state=JobState(state.decode()),
        failure=_failure.decode(failure) if failure else None,
        ended_ms=ended_ms,
        standing=Standing(standing.decode()),
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
