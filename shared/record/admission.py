"""Admission: which requests become jobs."""

from enum import StrEnum
from typing import Any

import msgspec

from shared.capabilities import WorkerPresence
from shared.errors import IdempotencyKeyReused, QueueFull, QueueUnavailable
from shared.jobs import NewJob
from shared.record.backlog import AdmissionLimit, Backlog, QueueLimits, estimate_room_s
from shared.record.scripts import ScriptCall, to_json, to_ms
from shared.record.workers import parse_workers


class SubmitPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """The owner of a request, the limits that hold for it, and its idempotency key.

    `idempotency_key` is unique among all API keys; None where the client sent none.
    """

    key_name: str
    limits: QueueLimits
    idempotency_key: str | None = None


class AdmissionForecast(msgspec.Struct, frozen=True):
    """Whether a request would be admitted now. With `is_known` its idempotency key already has a job.

    `ahead_jobs` counts the queued jobs that an interactive job would find before it. `workers` are alive.
    """

    backlog: Backlog
    full: QueueFull | None
    is_known: bool
    ahead_jobs: int
    workers: tuple[WorkerPresence, ...]

    @property
    def wait_s(self) -> float:
        """Seconds until an interactive job would begin, at least."""
        return self.backlog.estimate_interactive_wait_s(self.ahead_jobs)


class Outcome(StrEnum):
    """The outcome of a submit."""

    SUBMITTED = "submitted"  # the job is in the queue
    REPEATED = "repeated"  # the same job was submitted before, and is unchanged
    REPLAYED = "replayed"  # the idempotency key has another job, which is the answer


class Receipt(msgspec.Struct, frozen=True):
    """The job of a request, from this submit or an earlier one."""

    outcome: Outcome
    job: NewJob


class Fingerprint(msgspec.Struct, frozen=True):
    """A digest that distinguishes requests with the same idempotency key, and how long it is kept."""

    digest: str
    ttl_s: float


def make_policy(
    limits: QueueLimits | None = None, *, key_name: str = "", idempotency_key: str | None = None
) -> SubmitPolicy:
    """Return the policy for a request. Idempotency keys of different API keys are independent."""
    unique = None if idempotency_key is None else f"{key_name}:{idempotency_key}"
    return SubmitPolicy(key_name, limits or QueueLimits(), unique)


def check_admission(policy: SubmitPolicy) -> ScriptCall[AdmissionForecast]:
    """Check whether a job of any length would be admitted now, and by which workers.

    The submit checks again, with the length of the job.
    """

    def parse(reply: Any) -> AdmissionForecast:
        backlog = msgspec.json.decode(reply[0], type=Backlog)
        full = _describe_refusal(reply[1], backlog, policy.limits) if reply[1] else None
        workers = parse_workers(reply[4])
        return AdmissionForecast(backlog, full, bool(reply[2]), ahead_jobs=reply[3], workers=workers)

    return ScriptCall("check_admission", {"policy": policy}, parse)


def find_replay(idempotency_key: str, fingerprint: Fingerprint) -> ScriptCall[NewJob | None]:
    """Find the job of an idempotency key (as in `SubmitPolicy`); None where the key is free.

    Raises, when it is run:
        IdempotencyKeyReused: the key stands for another request.
    """

    def parse(reply: Any) -> NewJob | None:
        if reply is None:
            return None
        is_same, new_job = reply
        if not is_same:
            raise IdempotencyKeyReused
        return msgspec.json.decode(new_job, type=NewJob)

    arguments = {"idempotency_key": idempotency_key, "fingerprint": fingerprint.digest}
    return ScriptCall("find_replay", arguments, parse)


def submit_job(
    new_job: NewJob,
    policy: SubmitPolicy | None = None,
    fingerprint: Fingerprint | None = None,
    *,
    listener_lease_s: float = 0.0,
) -> ScriptCall[Receipt]:
    """(nothing) → queued, unless the idempotency key of `policy` already has a job.

    With a `listener_lease_s` the job lives only while the lease is renewed; see `shared.record.listeners`.

    Raises, when it is run:
        IdempotencyKeyReused: the key stands for another request.
        QueueFull: the limits of `policy` leave no room for the job.
        QueueUnavailable: the record has another version; see `shared.record.version`.
    """
    policy = policy or make_policy(key_name=new_job.key_name)
    audio_s = new_job.upload.duration_s

    def parse(reply: Any) -> Receipt:
        match [reply[0].decode(), *reply[1:]]:
            case ["replayed", original]:
                return Receipt(Outcome.REPLAYED, msgspec.json.decode(original, type=NewJob))
            case ["reused"]:
                raise IdempotencyKeyReused
            case ["closed"]:
                raise QueueUnavailable
            case ["full", limit, raw_backlog]:
                backlog = msgspec.json.decode(raw_backlog, type=Backlog)
                raise _describe_refusal(limit, backlog, policy.limits, audio_s=audio_s)
            case [outcome]:
                return Receipt(Outcome(outcome), new_job)
        raise ValueError(reply)

    arguments = {
        "job_id": new_job.job_id,
        "priority": new_job.priority,
        "new_job": to_json(new_job),
        "audio_ms": to_ms(audio_s),
        "policy": policy,
        "fingerprint": fingerprint.digest if fingerprint else "",
        "idempotency_ttl_ms": to_ms(fingerprint.ttl_s) if fingerprint else 0,
        "receiver": new_job.receiver or None,
        "listener_lease_ms": to_ms(listener_lease_s) or None,
    }
    return ScriptCall("submit", arguments, parse)


def _describe_refusal(
    limit: bytes, backlog: Backlog, limits: QueueLimits, *, audio_s: float = 0.0
) -> QueueFull:
    exceeded = AdmissionLimit(limit.decode())
    return QueueFull(exceeded, limits, estimate_room_s(exceeded, backlog, limits, audio_s=audio_s))
