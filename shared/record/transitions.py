"""The job record: every transition and every reading of it, each one call of one Lua script.

All functions only describe a call; a `ScriptRunner` or `AsyncScriptRunner` runs it. Times are measured by
the Redis server's clock.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from shared.events import Cancelled, Event, Failed, Partial, Progress, encode_event
from shared.jobs import Claim, Directive, Failure, FailureCode, Job, JobState
from shared.record.readings import Absence, ask_for, drop_absence, parse_claim, parse_found, parse_job
from shared.record.scripts import ScriptCall
from shared.record.workers import PRESENCE_TTL_S
from shared.transcripts import Segment, TokenCounts, TranscriptWarning

MAX_WORKER_LOSSES = 3
"""How often a job may lose its worker before it fails."""

MAX_ENGINE_CRASHES = 3
"""How often a job may crash the model process before it fails."""

_WORKER_LOST = Failure(
    FailureCode.WORKER_LOST,
    f"The worker was lost {MAX_WORKER_LOSSES} times while it transcribed this file; the job is given up.",
)
_ENGINE_CRASH = Failure(
    FailureCode.ENGINE_CRASH,
    f"The model process died or stood still, or no decoder could be started, {MAX_ENGINE_CRASHES} times on "
    "this file; the job is given up.",
)


def _text(reply: bytes) -> str:
    return reply.decode()


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def claim_job(worker_id: str, *, engine: str, model: str, lease_s: float) -> ScriptCall[Claim | None]:
    """queued → running: the first job in the queue, or None. A repeated call answers the same claim.

    The job is from then on one of this engine and model; text kept from others is warned of.
    """
    return ScriptCall("claim", (worker_id, _ms(lease_s), engine, model), parse_claim)


def beat_claim(claim: Claim, *, lease_s: float) -> ScriptCall[Directive]:
    """Renew the lease of a claim."""
    return ScriptCall("beat", (claim.job_id, claim.claim_no, _ms(lease_s)), _parse_directive)


def emit_event(claim: Claim, event: Event, *, published_partials: int | None = None) -> ScriptCall[Directive]:
    """Log an event of a running job and wake its listeners.

    A partial is safe to repeat with `published_partials`, how many were told before it since the claim or
    the last finished window.
    """
    is_partial = int(isinstance(event, Partial))
    told = "" if published_partials is None else published_partials
    args = (claim.job_id, claim.claim_no, encode_event(event), is_partial, told)
    return ScriptCall("emit", args, _parse_directive)


class FinishedWindow(msgspec.Struct, frozen=True):
    """What is kept of a finished window; the job resumes at `resume_sample` (16 kHz) of the upload.

    Where it is not complete, speech may be missing from its text, and so from that of the job. `inference_ms`
    is what inference for the job has taken so far, under all claims; `token_counts` are those of the window.
    """

    window: int
    resume_sample: int
    progress: Progress
    segments: tuple[Segment, ...]
    warnings: tuple[TranscriptWarning, ...] = ()
    is_complete: bool = True
    inference_ms: int = 0
    token_counts: TokenCounts | None = None


def finish_window(
    claim: Claim, finished: FinishedWindow, *, batch_turn_s: float = 0.0
) -> ScriptCall[Directive]:
    """Set the checkpoint behind a window and let its segments replace its partials. Safe to repeat.

    Only here the directive may be to yield: a batch job does where an interactive job waits, or, after
    `batch_turn_s` seconds of its audio (0: never), a batch job of another key that has had less; and neither
    while a worker is idle.
    """
    args = (
        claim.job_id,
        claim.claim_no,
        finished.window,
        finished.resume_sample,
        finished.progress.processed_s,
        encode_event(finished.progress),
        _json([_json(segment) for segment in finished.segments]),
        _json([_json(warning) for warning in finished.warnings]),
        int(finished.is_complete),
        finished.inference_ms,
        batch_turn_s,
        _json(finished.token_counts) if finished.token_counts else "",
    )
    return ScriptCall("finish_window", args, _parse_directive)


def yield_job(claim: Claim, *, reason: str, inference_ms: int = 0) -> ScriptCall[str]:
    """running → queued at its old place, with its checkpoint. Answers `requeued`, `cancelled` or `stale`.

    Where its turn among batch jobs was over, its place is behind as much audio as it was served in that turn.
    """
    return ScriptCall("yield", (claim.job_id, claim.claim_no, reason, inference_ms), _text)


def finish_succeeded(claim: Claim, *, ttl_s: float) -> ScriptCall[str]:
    """running → succeeded. Answers `finished`, `already`, `cancelled` or `stale`; safe to repeat."""
    return _finish(claim, JobState.SUCCEEDED, None, None, ttl_s)


def finish_cancelled(claim: Claim, *, ttl_s: float) -> ScriptCall[str]:
    """running → cancelled. Answers `cancelled`, `already` or `stale`; safe to repeat."""
    return _finish(claim, JobState.CANCELLED, Cancelled(), None, ttl_s)


def finish_failed(claim: Claim, failure: Failure, *, ttl_s: float) -> ScriptCall[str]:
    """running → failed. Answers `finished`, `already`, `cancelled` or `stale`; safe to repeat."""
    event = Failed(code=failure.code, message=failure.message)
    return _finish(claim, JobState.FAILED, event, failure, ttl_s)


def _finish(
    claim: Claim, state: JobState, event: Event | None, failure: Failure | None, ttl_s: float
) -> ScriptCall[str]:
    # The event of a success is put together by the script, from what the record says of the transcript.
    event_json = encode_event(event) if event else ""
    failure_json = _json(failure) if failure else ""
    args = (claim.job_id, claim.claim_no, state, event_json, failure_json, _ms(ttl_s))
    return ScriptCall("finish", args, _text)


def report_engine_crash(claim: Claim, *, ttl_s: float, inference_ms: int = 0) -> ScriptCall[str]:
    """running → queued, or failed(engine_crash) at the limit.

    Answers `requeued`, `failed`, `cancelled` or `stale`.
    """
    failure = _json(_ENGINE_CRASH)
    args = (claim.job_id, claim.claim_no, MAX_ENGINE_CRASHES, failure, _ms(ttl_s), inference_ms)
    return ScriptCall("crash", args, _text)


def sweep_expired_leases(*, ttl_s: float) -> ScriptCall[list[str]]:
    """running → queued, or failed(worker_lost) at the limit, for all expired leases; answers their jobs.

    Each sweep advances the clock of leases by a second at most: time without sweeps does not count.
    """
    args = (MAX_WORKER_LOSSES, _json(_WORKER_LOST), _ms(ttl_s))
    return ScriptCall("sweep", args, lambda reply: [_text(job_id) for job_id in reply])


def expire_queued(*, queue_ttl_s: float, ttl_s: float) -> ScriptCall[list[str]]:
    """queued → failed(expired), for jobs that no worker has claimed in `queue_ttl_s`; answers which."""
    failure = Failure(
        FailureCode.EXPIRED,
        f"No worker had time for this job within {queue_ttl_s:g} s (QUEUE_TTL_S), so it was given up. "
        "Send it again when the server has less to do.",
    )
    args = (_ms(queue_ttl_s), _json(failure), _ms(ttl_s))
    return ScriptCall("expire", args, lambda reply: [_text(job_id) for job_id in reply])


def cancel_job(job_id: str, *, ttl_s: float, owner: str | None = None) -> ScriptCall[JobState | Absence]:
    """queued → cancelled, or ask the worker of a running job to stop. Answers the state before.

    However a running job then leaves its worker, by an end, a yield, a crash or a loss: it is cancelled.
    The owner is the name of an API key, or None for any. The job of another owner is left as it is.
    """
    args = (job_id, _ms(ttl_s), ask_for(owner))
    return ScriptCall("cancel", args, lambda reply: parse_found(reply, lambda state: JobState(_text(state))))


def list_discarded_uploads() -> ScriptCall[list[str]]:
    """Return up to a thousand cancelled or deleted jobs whose audio may still be there."""
    return ScriptCall("list_discarded_uploads", (), lambda reply: [_text(job_id) for job_id in reply])


def forget_discarded_uploads(job_ids: Sequence[str]) -> ScriptCall[int]:
    """Record that the audio of these jobs, one at least, is deleted."""
    return ScriptCall("forget_discarded_uploads", tuple(job_ids), int)


def delete_job(job_id: str) -> ScriptCall[bool]:
    """final → gone; false where the job is not final. A sweeper deletes its audio."""
    return ScriptCall("delete", (job_id,), bool)


def find_job(job_id: str, *, owner: str | None) -> ScriptCall[Job | Absence]:
    """Return the job as it stands, with its segments so far, if it belongs to `owner`.

    The owner is the name of an API key, or None for any.
    """
    args = (job_id, _ms(PRESENCE_TTL_S), ask_for(owner))
    return ScriptCall(
        "read_job", args, lambda reply: parse_found(reply, lambda found: parse_job(job_id, found))
    )


def read_job(job_id: str) -> ScriptCall[Job | None]:
    """Return the job as it stands, with its segments so far; None where there is no such job."""
    call = find_job(job_id, owner=None)
    return ScriptCall(call.script, call.args, lambda reply: drop_absence(call.parse(reply)))


def needs_ticket(broker_queue: str) -> ScriptCall[bool]:
    """Whether jobs are queued while no ticket is on its way to a worker."""
    return ScriptCall("needs_ticket", (broker_queue,), bool)


def _parse_directive(reply: Any) -> Directive:
    return Directive(_text(reply))
