"""A job stops for the gravest reason there is."""

import threading

from shared.jobs import Directive
from worker.jobs.clocks import ClockLimits, JobClocks
from worker.jobs.stop_rules import StopReason, StopRules


class Situation:
    """What the rules look at, set by a test."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.directive = Directive.GO_ON
        self.is_stopping = threading.Event()
        limits = ClockLimits(inference_s=10, window_s=5, load_s=20)
        self.clocks = JobClocks(limits, used_ms=0, clock=lambda: self.now)
        self.rules = StopRules(lambda: self.directive, self.clocks, is_stopping=self.is_stopping)


def test_an_undisturbed_job_goes_on() -> None:
    assert Situation().rules.find_reason() is None


def test_the_gravest_reason_wins() -> None:
    situation = Situation()
    situation.clocks.begin_inference()
    situation.directive = Directive.YIELD
    assert situation.rules.find_reason() is StopReason.YIELDING
    situation.is_stopping.set()
    assert situation.rules.find_reason() is StopReason.STOPPING
    situation.now += 6
    assert situation.rules.find_reason() is StopReason.STALLED
    situation.now += 5
    assert situation.rules.find_reason() is StopReason.TIMED_OUT
    situation.directive = Directive.CANCEL
    assert situation.rules.find_reason() is StopReason.CANCELLED
    situation.directive = Directive.STALE
    assert situation.rules.find_reason() is StopReason.STALE
