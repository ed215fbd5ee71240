"""Calls about one claim, for tests in which each worker holds at most one job."""

from shared.jobs import Claim, Directive
from shared.record.claims import BatchRoom, Claimant, beat_claims, claim_jobs
from shared.record.scripts import ScriptCall
from shared.record.transitions import report_engine_crash


def claim_job(
    worker_id: str, *, engine: str, model: str, lease_s: float, is_interactive_only: bool = False
) -> ScriptCall[Claim | None]:
    """Claim the first job in the queue, or the first interactive one."""
    room = BatchRoom(interactive_rows=1, batch_rows=0 if is_interactive_only else 1)
    call = claim_jobs(Claimant(worker_id, engine, model, lease_s=lease_s), room)
    return ScriptCall(call.name, call.arguments, lambda reply: next(iter(call.parse(reply).claims), None))


def beat_claim(claim: Claim, *, lease_s: float) -> ScriptCall[Directive]:
    """Renew the lease of a claim."""
    call = beat_claims([claim], lease_s=lease_s)
    return ScriptCall(call.name, call.arguments, lambda reply: call.parse(reply)[0])


def crash_engine(claim: Claim, *, ttl_s: float, inference_ms: int = 0) -> ScriptCall[str]:
    """Report a crash of the model process under a job that was alone in it."""
    call = report_engine_crash([(claim, inference_ms)], ttl_s=ttl_s)
    return ScriptCall(call.name, call.arguments, lambda reply: call.parse(reply)[0])
