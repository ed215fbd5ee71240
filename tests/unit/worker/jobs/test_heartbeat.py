"""A cancel is known in time, and an error in one beat does not end the heartbeat."""

import threading
from typing import Any, cast

from shared.capabilities import Capabilities, ModelState, WorkerPresence
from shared.jobs import Checkpoint, Claim, Directive, Endpoint, Priority, TranscriptionRequest, Upload
from shared.record.scripts import ScriptCall, ScriptRunner
from worker.jobs.group import POLL_S
from worker.jobs.heartbeat import BEAT_INTERVAL_S, Heartbeat
from worker.jobs.stop_rules import ClaimState
from worker.settings import WorkerSettings

CAPABILITIES = Capabilities("e", "m", frozenset(), frozenset())
PRESENCE = WorkerPresence("w", CAPABILITIES, ModelState.READY, "cpu")


def make_claim(job_id: str) -> Claim:
    return Claim(
        job_id,
        Endpoint.SYNC,
        Priority.BATCH,
        Upload(job_id, "a.wav", size_bytes=1, sha256="", duration_s=9.0),
        TranscriptionRequest(),
        claim_no=1,
        attempt=1,
        checkpoint=Checkpoint(),
    )


def test_a_cancel_ends_any_engine_within_a_second() -> None:
    grace_s = WorkerSettings().cancel_grace_ms / 1000
    assert BEAT_INTERVAL_S + POLL_S + grace_s + POLL_S <= 0.9


def test_an_unexpected_error_costs_one_beat() -> None:
    described = threading.Semaphore(0)

    def describe_worker() -> WorkerPresence:
        described.release()
        raise RuntimeError

    heartbeat = Heartbeat(cast(ScriptRunner, None), describe_worker, lease_s=1)
    heartbeat.start()
    for _ in range(2):
        assert described.acquire(timeout=30)
    heartbeat._stopped.set()


class FakeRunner:
    """A record that answers every beat with two directives."""

    def __init__(self) -> None:
        self.calls: list[ScriptCall[Any]] = []

    def run(self, call: ScriptCall[Any]) -> object:
        self.calls.append(call)
        return call.parse([b"go_on", b"cancel"])


def test_one_beat_renews_all_claims_and_each_gets_its_directive() -> None:
    runner = FakeRunner()
    heartbeat = Heartbeat(cast(ScriptRunner, runner), lambda: PRESENCE, lease_s=1)
    states = [ClaimState(make_claim(job_id)) for job_id in ("a", "b")]
    for state in states:
        heartbeat.watch(state)
    heartbeat._renew_leases()
    (beat,) = runner.calls
    assert beat.arguments["claims"] == [{"job_id": "a", "claim_no": 1}, {"job_id": "b", "claim_no": 1}]
    assert [state.directive for state in states] == [Directive.GO_ON, Directive.CANCEL]
