"""The claims of a worker: on a group of jobs whose windows share its batches, each under a lease."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from shared.audio_format import AudioStart
from shared.jobs import Checkpoint, Claim, Directive, NewJob
from shared.record.scripts import ScriptCall, to_ms
from shared.transcripts import Segment


class Claimant(msgspec.Struct, frozen=True):
    """A worker that claims jobs. They then belong to its engine and model.

    A batch job yields after `batch_turn_s` seconds of its audio if another key's batch job is due; 0 means
    never.
    """

    worker_id: str
    engine: str
    model: str
    lease_s: float
    batch_turn_s: float = 0.0


class BatchRoom(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a worker's next batch that are free for jobs of each class. A row is one window.

    Interactive jobs have as much room as batch jobs, or more. A job takes the rows that `count_rows` finds
    for `window_s`, or all that are free. The batch has `max_rows`, of which the jobs held use `used_rows`.
    """

    interactive_rows: int
    batch_rows: int
    window_s: float = 30.0
    used_rows: int = 0
    max_rows: int = 1


_WINDOW_EXCESS = 0.1
"""The part of a window by which a job may exceed its rows: windows leave silence out. Clips that a tool has
cut to the length of a window are a little longer."""


def count_rows(audio_s: float, window_s: float) -> int:
    """Return the rows that a job with so much audio takes in a batch: an estimate of its windows."""
    return max(1, math.ceil(audio_s / window_s - _WINDOW_EXCESS))


NO_ROOM = BatchRoom(interactive_rows=0, batch_rows=0)
"""The room of a batch that takes no more jobs: the call then only returns directives."""


class ClaimedGroup(msgspec.Struct, frozen=True):
    """New claims in the order of the queue, and a directive for each claim that the worker holds."""

    claims: tuple[Claim, ...]
    directives: tuple[Directive, ...]


def claim_jobs(
    claimant: Claimant, room: BatchRoom, *, held: Sequence[Claim] = ()
) -> ScriptCall[ClaimedGroup]:
    """queued → running: claim the first jobs in the queue, as many as there is room for.

    `held` are the claims that the worker has, between two of its batches. Claims of an earlier call that are
    not among them are returned again, instead of new ones: its reply may have been lost. So any repeated
    call is safe.

    Only this call may return the directive to yield. Batch jobs yield if more interactive jobs wait than
    there are idle workers. In a group, the first batch job stays, since interactive jobs share its batches.
    A batch job whose turn is over yields if no worker is idle. After a yield there is room again.

    A job is claimed alone if it was in a group whose model process or worker was lost, until it has finished
    a window. It goes first in its class, and all batch jobs yield to it.
    """
    arguments = {
        "worker_id": claimant.worker_id,
        "engine": claimant.engine,
        "model": claimant.model,
        "lease_ms": to_ms(claimant.lease_s),
        "batch_turn_s": claimant.batch_turn_s,
        "interactive_rows": room.interactive_rows,
        "batch_rows": room.batch_rows,
        "window_ms": to_ms(room.window_s),
        "used_rows": room.used_rows,
        "max_rows": room.max_rows,
        "held": [fence(claim) for claim in held],
    }
    return ScriptCall("claim", arguments, _parse_group)


def beat_claims(claims: Sequence[Claim], *, lease_s: float) -> ScriptCall[tuple[Directive, ...]]:
    """Renew the leases of these claims. Returns a directive for each of them."""
    arguments = {"claims": [fence(claim) for claim in claims], "lease_ms": to_ms(lease_s)}
    return ScriptCall("beat", arguments, _parse_directives)


def fence(claim: Claim) -> Mapping[str, str | int]:
    """Return the arguments that each call about a claim carries."""
    return {"job_id": claim.job_id, "claim_no": claim.claim_no}


def _parse_group(reply: Any) -> ClaimedGroup:
    claims, directives = reply
    return ClaimedGroup(tuple(map(_parse_claim, claims)), _parse_directives(directives))


def _parse_directives(reply: Any) -> tuple[Directive, ...]:
    return tuple(Directive(directive.decode()) for directive in reply)


def _parse_claim(reply: Any) -> Claim:
    claim_no, attempt, new_job_json, windows, resume_sample, audio_start, inference_ms, last_segment = reply
    new_job = msgspec.json.decode(new_job_json, type=NewJob)
    return Claim(
        **msgspec.structs.asdict(new_job),
        claim_no=claim_no,
        attempt=attempt,
        checkpoint=Checkpoint(
            windows=windows,
            resume_sample=resume_sample,
            audio_start=msgspec.json.decode(audio_start or b"{}", type=AudioStart),
            language=msgspec.json.decode(last_segment, type=Segment).language if last_segment else None,
        ),
        inference_ms=inference_ms,
    )
