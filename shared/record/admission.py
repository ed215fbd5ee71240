"""The submit side of the job record: what may be taken in, and as which job.

All functions only describe a call; see `shared.record.transitions`.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

from shared.errors import IdempotencyKeyReused, QueueFull
from shared.jobs import NewJob, Priority
from shared.record.backlog import AdmissionLimit, Backlog, QueueLimits, estimate_room_s, estimate_wait_s
from shared.record.scripts import ScriptCall
from shared.record.workers import PRESENCE_TTL_S

_CLASSES = {Priority.INTERACTIVE: 0, Priority.BATCH: 1}

_MS_PER_S = 1000

_new_job = msgspec.json.Decoder(NewJob)


class SubmitPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """On what terms a request comes: whose it is, what may wait, and which key makes it one of a kind.

    `idempotency_key` is unique among all callers; None where the client sent none.
    """

    key_name: str
    limits: QueueLimits
    presence_ttl_ms: int
    idempotency_key: str | None = None


class AdmissionForecast(msgspec.Struct, frozen=True):
    """What would become of a request now. With `is_known` its idempotency key stands for a job already.

    `ahead_s` is the audio that an interactive job would find queued before it; running jobs do not count, as
    one that is batch makes room.
    """

    backlog: Backlog
    full: QueueFull | None
    is_known: bool
    ahead_s: float

    @property
    def wait_s(self) -> float:
        """Seconds, at the least, until an interactive job would be begun, as far as can be told."""
        return estimate_wait_s(self.ahead_s, self.backlog.speed, self.backlog.workers)


class Outcome(StrEnum):
    """What became of a submit."""

    SUBMITTED = "submitted"  # the job is in the queue
    REPEATED = "repeated"  # it was submitted before, and is left as it is
    REPLAYED = "replayed"  # the idempotency key stands for another job, which is the answer


class Receipt(msgspec.Struct, frozen=True):
    """The job that a request became, or had become before."""

    outcome: Outcome
    job: NewJob


class Fingerprint(msgspec.Struct, frozen=True):
    """What tells a request from others under the same idempotency key, and how long that is kept."""

    digest: str
    ttl_s: float


def make_policy(
    limits: QueueLimits | None = None, *, key_name: str = "", idempotency_key: str | None = None
) -> SubmitPolicy:
    """The terms of a request. Idempotency keys of different API keys have nothing to do with each other."""
    unique = None if idempotency_key is None else f"{key_name}:{idempotency_key}"
    return SubmitPolicy(key_name, limits or QueueLimits(), round(PRESENCE_TTL_S * _MS_PER_S), unique)


def check_admission(terms: SubmitPolicy) -> ScriptCall[AdmissionForecast]:
    """Whether a job of any length would be taken in now. The submit asks again, with the length known."""

    def parse(reply: Any) -> AdmissionForecast:
        backlog, limit, is_known, ahead_ms = reply
        return AdmissionForecast(
            backlog=_parse_backlog(backlog),
            full=_parse_full(limit, backlog, terms.limits) if limit else None,
            is_known=bool(is_known),
            ahead_s=ahead_ms / _MS_PER_S,
        )

    return ScriptCall("check_admission", (_json(terms),), parse)


def find_replay(idempotency_key: str, fingerprint: Fingerprint) -> ScriptCall[NewJob | None]:
    """The job that an idempotency key (of `SubmitPolicy`) stands for; None where the key is free.

    Raises, when it is run:
        IdempotencyKeyReused: it stands for another request.
    """

    def parse(reply: Any) -> NewJob | None:
        if reply is None:
            return None
        is_same, new_job = reply
        if not is_same:
            raise IdempotencyKeyReused
        return _new_job.decode(new_job)

    return ScriptCall("find_replay", (idempotency_key, fingerprint.digest), parse)


def submit_job(
    new_job: NewJob,
    terms: SubmitPolicy | None = None,
    fingerprint: Fingerprint | None = None,
    *,
    listener_lease_s: float = 0.0,
) -> ScriptCall[Receipt]:
    """(nothing) → queued, unless the idempotency key of `terms` stands for a job already.

    With a `listener_lease_s` the job lives only while the lease is renewed; see `shared.record.listeners`.

    Raises, when it is run:
        IdempotencyKeyReused: it stands for another request.
        QueueFull: the limits of `terms` leave no room for it.
    """
    terms = terms or make_policy(key_name=new_job.key_name)
    audio_s = new_job.upload.duration_s

    def parse(reply: Any) -> Receipt:
        match [reply[0].decode(), *reply[1:]]:
            case ["replayed", original]:
                return Receipt(Outcome.REPLAYED, _new_job.decode(original))
            case ["reused"]:
                raise IdempotencyKeyReused
            case ["full", limit, backlog]:
                raise _parse_full(limit, backlog, terms.limits, audio_s=audio_s)
            case [outcome]:
                return Receipt(Outcome(outcome), new_job)
        raise ValueError(reply)

    args = (
        new_job.job_id,
        _CLASSES[new_job.priority],
        _json(new_job),
        round(audio_s * _MS_PER_S),
        _json(terms),
        fingerprint.digest if fingerprint else "",
        round(fingerprint.ttl_s * _MS_PER_S) if fingerprint else 0,
        new_job.receiver,
        round(listener_lease_s * _MS_PER_S),
    )
    return ScriptCall("submit", args, parse)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _parse_backlog(reply: Sequence[Any]) -> Backlog:
    jobs, audio_ms, running_ms, jobs_of_key, audio_of_key_ms, measured_s, inference_s, workers = reply
    return Backlog(
        queued_jobs=jobs,
        queued_audio_s=audio_ms / _MS_PER_S,
        running_audio_s=running_ms / _MS_PER_S,
        unfinished_jobs_of_key=jobs_of_key,
        queued_audio_of_key_s=audio_of_key_ms / _MS_PER_S,
        measured_speed=float(measured_s) / float(inference_s) if float(inference_s) else None,
        workers=workers,
    )


def _parse_full(
    limit: bytes, backlog: Sequence[Any], limits: QueueLimits, *, audio_s: float = 0.0
) -> QueueFull:
    kind = AdmissionLimit(limit.decode())
    return QueueFull(kind, limits, estimate_room_s(kind, _parse_backlog(backlog), limits, audio_s=audio_s))
