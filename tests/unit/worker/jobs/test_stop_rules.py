"""A job stops for the gravest reason there is."""

import threading

import pytest

from shared.jobs import Checkpoint, Claim, Directive, Endpoint, Priority, TranscriptionRequest, Upload
from worker.jobs.clocks import JobClocks
from worker.jobs.stop_rules import ClaimState, StopReason, StopRules
from worker.settings import WorkerSettings

UPLOAD = Upload("a", "a.wav", size_bytes=1, sha256="", duration_s=9.0)
CLAIM = Claim(
    "a",
    Endpoint.SYNC,
    Priority.BATCH,
    UPLOAD,
    TranscriptionRequest(),
    claim_no=1,
    attempt=1,
    checkpoint=Checkpoint(),
)


class Situation:
    """The state that the rules check, set by a test."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.state = ClaimState(CLAIM)
        self.is_stopping = threading.Event()
        settings = WorkerSettings(request_timeout=10, stall_timeout_s=5, load_timeout_s=20)
        self.clocks = JobClocks(CLAIM, settings, clock=lambda: self.now)
        self.rules = StopRules(self.state, self.clocks, is_stopping=self.is_stopping)


def test_an_undisturbed_job_goes_on() -> None:
    assert Situation().rules.find_reason() is None


def test_the_gravest_reason_wins() -> None:
    situation = Situation()
    situation.clocks.begin_inference()
    situation.state.apply(Directive.YIELD)
    assert situation.rules.find_reason() is StopReason.YIELDING
    situation.is_stopping.set()
    assert situation.rules.find_reason() is StopReason.STOPPING
    situation.now += 6
    assert situation.rules.find_reason() is StopReason.STALLED
    situation.now += 5
    assert situation.rules.find_reason() is StopReason.TIMED_OUT
    situation.state.apply(Directive.CANCEL)
    assert situation.rules.find_reason() is StopReason.CANCELLED
    situation.state.apply(Directive.STALE)
    assert situation.rules.find_reason() is StopReason.STALE


@pytest.mark.parametrize("graver", [Directive.CANCEL, Directive.STALE])
def test_a_late_yield_takes_back_no_graver_directive(graver: Directive) -> None:
    state = ClaimState(CLAIM)
    for applied, remembered in [
        (Directive.GO_ON, Directive.GO_ON),
        (Directive.YIELD, Directive.YIELD),
        (Directive.GO_ON, Directive.YIELD),
        (graver, graver),
        (Directive.YIELD, graver),
    ]:
        state.apply(applied)
        assert state.directive is remembered
