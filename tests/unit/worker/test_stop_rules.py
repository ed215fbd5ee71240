"""A job stops for the gravest reason there is, and its clock runs from when the model is in memory."""

import threading

from shared.jobs import (
    Checkpoint,
    Claim,
    Directive,
    Door,
    Priority,
    TranscriptionRequest,
    Upload,
)
from worker.settings import WorkerSettings
from worker.stop_rules import StopReason, StopRules, inference_limit_s


class Situation:
    """What the rules look at, set by a test."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.directive = Directive.GO_ON
        self.is_stopping = threading.Event()
        self.rules = StopRules(
            lambda: self.directive, limit_s=10, is_stopping=self.is_stopping, clock=lambda: self.now
        )


def make_claim(door: Door, duration_s: float) -> Claim:
    upload = Upload("a", "a.wav", size_bytes=1, sha256="", duration_s=duration_s)
    return Claim("a", 1, 1, door, Priority.BATCH, upload, TranscriptionRequest(), Checkpoint())


def test_an_undisturbed_job_goes_on() -> None:
    assert Situation().rules.find_reason() is None


def test_loading_the_model_does_not_count_as_inference() -> None:
    situation = Situation()
    situation.now += 1000
    assert situation.rules.find_reason() is None
    situation.rules.begin_inference()
    situation.now += 10
    assert situation.rules.find_reason() is None
    situation.now += 1
    assert situation.rules.find_reason() is StopReason.TIMED_OUT


def test_a_second_report_of_a_loaded_model_does_not_restart_the_clock() -> None:
    situation = Situation()
    situation.rules.begin_inference()
    situation.now += 11
    situation.rules.begin_inference()
    assert situation.rules.find_reason() is StopReason.TIMED_OUT


def test_the_gravest_reason_wins() -> None:
    situation = Situation()
    situation.rules.begin_inference()
    situation.is_stopping.set()
    assert situation.rules.find_reason() is StopReason.STOPPING
    situation.now += 11
    assert situation.rules.find_reason() is StopReason.TIMED_OUT
    situation.directive = Directive.CANCEL
    assert situation.rules.find_reason() is StopReason.CANCELLED
    situation.directive = Directive.STALE
    assert situation.rules.find_reason() is StopReason.STALE


def test_only_jobs_get_more_time_for_longer_audio() -> None:
    settings = WorkerSettings(request_timeout=300, job_timeout_factor=4)
    hour_s = 3600.0
    assert inference_limit_s(make_claim(Door.SYNC, hour_s), settings) == 300
    assert inference_limit_s(make_claim(Door.STREAM, hour_s), settings) == 300
    assert inference_limit_s(make_claim(Door.JOBS, hour_s), settings) == 4 * hour_s
    assert inference_limit_s(make_claim(Door.JOBS, 1.0), settings) == 300
