"""Reading what the job scripts answer into the values of `shared.jobs`."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from shared.capabilities import ModelState
from shared.jobs import Checkpoint, Claim, DeliveryAttempt, Failure, Job, JobState, NewJob
from shared.transcripts import Segment, TokenCounts, TranscriptWarning

_new_job = msgspec.json.Decoder(NewJob)
_failure = msgspec.json.Decoder(Failure)
_delivery_attempt = msgspec.json.Decoder(DeliveryAttempt)
_segment = msgspec.json.Decoder(Segment)
_warning = msgspec.json.Decoder(TranscriptWarning)


Found = TypeVar("Found")


class Absence(StrEnum):
    """Why an owner is not given a job."""

    UNKNOWN = "unknown"  # there is no such job, or it belongs to another API key; callers cannot tell which
    GONE = "gone"  # it was the owner's, and its TTL is over


def ask_for(owner: str | None) -> str:
    """Return the owner as scripts take it: the name of an API key, or with None any owner."""
    return "*" if owner is None else owner


def parse_found(reply: Any, parse: Callable[[Any], Found]) -> Found | Absence:
    """Return what `parse` makes of a reply, unless the reply says that the owner has no such job."""
    if reply is None:
        return Absence.UNKNOWN
    return Absence.GONE if reply == b"gone" else parse(reply)


def drop_absence(found: Found | Absence) -> Found | None:
    """Return what was found, or None."""
    return None if isinstance(found, Absence) else found


def parse_claim(reply: Any) -> Claim | None:
    """The claim in a reply of `claim.lua`, or None where no job was queued."""
    if reply is None:
        return None
    claim_no, attempt, new_job_json, windows, resume_sample, inference_ms, last_segment = reply
    new_job = _new_job.decode(new_job_json)
    return Claim(
        job_id=new_job.job_id,
        claim_no=claim_no,
        attempt=attempt,
        endpoint=new_job.endpoint,
        priority=new_job.priority,
        upload=new_job.upload,
        request=new_job.request,
        checkpoint=Checkpoint(
            windows=windows,
            resume_sample=resume_sample,
            language=_segment.decode(last_segment).language if last_segment else None,
        ),
        inference_ms=inference_ms,
    )


def parse_job(job_id: str, reply: Any) -> Job:
    """The job in a reply of `read_job.lua`."""
    flat, (position, attempt, eta_s, model_state), segments, warnings, deliveries = reply
    record = {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
    new_job = _new_job.decode(record["new_job"])
    return Job(
        job_id=job_id,
        state=JobState(record["state"].decode()),
        endpoint=new_job.endpoint,
        priority=new_job.priority,
        upload=new_job.upload,
        request=new_job.request,
        attempt=attempt,
        created_ms=int(record["created_ms"]),
        started_ms=_optional_int(record.get("started_ms")),
        finished_ms=_optional_int(record.get("finished_ms")),
        processed_s=float(record["processed_s"]),
        failure=_failure.decode(record["failure"]) if "failure" in record else None,
        position=position,
        eta_s=float(eta_s) if eta_s else None,
        model_state=ModelState(model_state.decode()) if model_state else None,
        inference_ms=int(record.get("inference_ms", 0)),
        metadata=new_job.metadata,
        engine=_optional_text(record.get("engine")),
        model=_optional_text(record.get("model")),
        segments=tuple(_segment.decode(segment) for segment in segments),
        warnings=tuple(_warning.decode(warning) for warning in warnings),
        is_complete="incomplete" not in record,
        token_counts=_parse_counts(record),
        deliveries=tuple(_delivery_attempt.decode(delivery) for delivery in deliveries),
    )


def _parse_counts(record: Mapping[str, bytes]) -> TokenCounts | None:
    counts = {name: record.get(f"tokens_{name}") for name in TokenCounts.__struct_fields__}
    if "has_uncounted" in record or None in counts.values():
        return None
    return TokenCounts(**{name: int(count) for name, count in counts.items() if count is not None})


def _optional_int(value: bytes | None) -> int | None:
    return None if value is None else int(value)


def _optional_text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
