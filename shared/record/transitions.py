"""The transitions of a job after its claim, each one atomic call."""

from collections.abc import Sequence
from typing import Any

import msgspec

from shared.audio_format import SAMPLE_RATE_HZ
from shared.events import Event, Partial, Progress
from shared.jobs import Claim, Directive, Failure, FailureCode, JobState
from shared.record.claims import fence
from shared.record.readings import Absence, parse_found
from shared.record.scripts import ScriptCall, parse_ids, parse_pairs, to_json, to_ms
from shared.transcripts import FinishedWindow, end_by

MAX_WORKER_LOSSES = 3
"""The number of lost workers at which a job fails."""

MAX_ENGINE_CRASHES = 3
"""The number of crashes of the model process at which a job fails."""

_WORKER_LOST = Failure(
    FailureCode.WORKER_LOST,
    f"The job failed because its worker was lost {MAX_WORKER_LOSSES} times. Send it again, or send the audio "
    "in shorter files.",
)
_ENGINE_CRASH = Failure(
    FailureCode.ENGINE_CRASH,
    f"The job failed because the model process died or stalled, or no decoder started, {MAX_ENGINE_CRASHES} "
    "times. Send it again, or send the audio in shorter files.",
)


def emit_event(claim: Claim, event: Event, *, published_partials: int | None = None) -> ScriptCall[Directive]:
    """Log an event of a running job and wake its listeners.

    A partial is safe to repeat with `published_partials`: the number of partials published before it since
    the claim or the last finished window.
    """
    arguments = {
        **fence(claim),
        "event": to_json(event),
        "is_partial": isinstance(event, Partial),
        "published_partials": published_partials,
    }
    return ScriptCall("emit", arguments, _parse_directive)


def finish_window(
    claim: Claim, finished: FinishedWindow, *, inference_ms: int = 0, cost_ms: int = 0
) -> ScriptCall[Directive]:
    """Set the checkpoint after a window and replace its partials by its segments. Safe to repeat.

    `inference_ms` is the inference time of the job so far, under all claims. `cost_ms` is the time that the
    measured speed counts for this window. The costs of all windows add up to the time of the engine.
    No time in the record exceeds the duration of the upload, although engines and decoders pad.
    """
    duration_s = claim.upload.duration_s
    finished = end_by(finished, duration_s)
    processed_s = finished.resume_sample / SAMPLE_RATE_HZ
    known = {name: value for name, value in msgspec.structs.asdict(finished).items() if value is not None}
    arguments = {
        **fence(claim),
        **known,
        "processed_s": processed_s,
        "progress": to_json(Progress(min(processed_s, duration_s), duration_s)),
        "segments": [to_json(segment) for segment in finished.segments],
        "warnings": [to_json(warning) for warning in finished.warnings],
        "audio_start": to_json(finished.audio_start),
        "inference_ms": inference_ms,
        "cost_ms": cost_ms,
    }
    return ScriptCall("finish_window", arguments, _parse_directive)


def yield_job(claim: Claim, *, reason: str, inference_ms: int = 0) -> ScriptCall[str]:
    """running → queued with the checkpoint. Returns `requeued`, `cancelled` or `stale`.

    The job keeps its place. If its turn among batch jobs was over, it goes after the audio it was served.
    """
    return ScriptCall("yield", {**fence(claim), "reason": reason, "inference_ms": inference_ms}, bytes.decode)


def succeed_after(
    claim: Claim, last: FinishedWindow, *, inference_ms: int, ttl_s: float, cost_ms: int = 0
) -> ScriptCall[str]:
    """running → succeeded, with the last window of the audio. Otherwise as `finish_job`."""
    duration_s = claim.upload.duration_s
    window = finish_window(claim, last, inference_ms=inference_ms, cost_ms=cost_ms).arguments
    progress = to_json(Progress(duration_s, duration_s))
    arguments = {
        **fence(claim),
        "state": JobState.SUCCEEDED,
        "ttl_ms": to_ms(ttl_s),
        "inference_ms": inference_ms,
        "last_window": {**window, "progress": progress},
    }
    return ScriptCall("finish", arguments, bytes.decode)


def finish_job(
    claim: Claim,
    state: JobState,
    *,
    ttl_s: float,
    inference_ms: int = 0,
    failure: Failure | None = None,
) -> ScriptCall[str]:
    """running → a final state; a failed job has a `failure`. Finished windows are kept in any case.

    `inference_ms` is the inference time of the job, under all claims. Returns `finished`, `already`,
    `cancelled` or `stale`; safe to repeat.
    """
    arguments = {
        **fence(claim),
        "state": state,
        "failure": to_json(failure) if failure else None,
        "ttl_ms": to_ms(ttl_s),
        "inference_ms": inference_ms,
    }
    return ScriptCall("finish", arguments, bytes.decode)


def report_engine_crash(
    crashed: Sequence[tuple[Claim, int]], *, had_others: bool = False, ttl_s: float
) -> ScriptCall[tuple[str, ...]]:
    """running → queued, or failed(engine_crash) at the limit, for all jobs that were in the model process.

    Each claim comes with the inference time of its job so far, in ms. The process `had_others` if the engine
    was also at work on jobs whose claims had ended. Returns `requeued`, `failed`, `cancelled` or `stale` for
    each claim. Only a job that was alone is counted. Others are claimed alone next.
    """
    arguments = {
        "claims": [{**fence(claim), "inference_ms": inference_ms} for claim, inference_ms in crashed],
        "had_others": had_others,
        "limit": MAX_ENGINE_CRASHES,
        "failure": to_json(_ENGINE_CRASH),
        "ttl_ms": to_ms(ttl_s),
    }
    return ScriptCall("crash", arguments, lambda reply: tuple(parse_ids(reply)))


def sweep_expired_leases(*, ttl_s: float) -> ScriptCall[dict[str, str]]:
    """running → queued, or failed(worker_lost) at the limit, for all expired leases.

    Returns `requeued`, `failed` or `cancelled` by the id of the job. Only a job without companions is
    counted. Others are claimed alone next.

    Each sweep advances the lease clock by a second at most: time without sweeps does not count.
    """
    arguments = {"limit": MAX_WORKER_LOSSES, "failure": to_json(_WORKER_LOST), "ttl_ms": to_ms(ttl_s)}
    return ScriptCall("sweep", arguments, parse_pairs)


def expire_queued(*, queue_ttl_s: float, ttl_s: float) -> ScriptCall[list[str]]:
    """queued → failed(expired), for jobs that no worker claimed within `queue_ttl_s`. Returns their ids."""
    failure = Failure(
        FailureCode.EXPIRED,
        f"No worker began this job within {queue_ttl_s:g} s (QUEUE_TTL_S). Send it again when the server is "
        "less busy.",
    )
    arguments = {"queue_ttl_ms": to_ms(queue_ttl_s), "failure": to_json(failure), "ttl_ms": to_ms(ttl_s)}
    return ScriptCall("expire", arguments, parse_ids)


def cancel_job(job_id: str, *, ttl_s: float, owner: str | None = None) -> ScriptCall[JobState | Absence]:
    """queued → cancelled, or request the cancel of a running job. Returns the state before.

    A running job is then cancelled however it leaves its worker: by an end, a yield, a crash or a loss. The
    owner is the name of an API key, or None for any. A job of another owner is left alone.
    """

    def parse(reply: Any) -> JobState:
        return JobState(reply.decode())

    arguments = {"job_id": job_id, "owner": owner, "ttl_ms": to_ms(ttl_s)}
    return ScriptCall("cancel", arguments, lambda reply: parse_found(reply, parse))


def delete_job(job_id: str) -> ScriptCall[bool]:
    """final → gone; false where the job is not final. A sweeper deletes its audio."""
    return ScriptCall("delete", {"job_id": job_id}, bool)


def forget_jobs() -> ScriptCall[int]:
    """final → gone: take up to a hundred jobs whose TTL is over off the list. Returns their number."""
    return ScriptCall("forget", {}, int)


def _parse_directive(reply: Any) -> Directive:
    return Directive(reply.decode())
