"""The log has one word for each way in which a job leaves its worker."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from shared.jobs import (
    Checkpoint,
    Claim,
    Endpoint,
    Failure,
    FailureCode,
    JobState,
    Priority,
    TranscriptionRequest,
    Upload,
)
from shared.record.scripts import ScriptCall, ScriptRunner
from tests.support.log_lines import capture_log_lines
from worker.jobs.recorder import JobRecorder
from worker.jobs.stop_rules import ClaimState

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

Write = Callable[[JobRecorder], None]


class FakeRunner:
    """A record that answers every transition with `outcome`."""

    def __init__(self, outcome: str) -> None:
        self._outcome = outcome

    def run(self, call: ScriptCall[object]) -> object:
        return call.parse([self._outcome.encode()] if call.name == "crash" else self._outcome.encode())


def log_of(write: Write, outcome: str) -> list[dict[str, Any]]:
    """Return the log lines of a write that the record answers with `outcome`, without level."""
    runner = cast(ScriptRunner, FakeRunner(outcome))
    with capture_log_lines() as lines:
        write(JobRecorder(runner, ClaimState(CLAIM), job_ttl_s=60))
    return [{key: value for key, value in line.items() if key != "log_level"} for line in lines]


class CollectingRunner:
    """A record that collects calls. It answers a window with `go_on`, and a claim with `yield`."""

    def __init__(self) -> None:
        self.calls: list[ScriptCall[Any]] = []

    def run(self, call: ScriptCall[Any]) -> object:
        self.calls.append(call)
        return call.parse([[], [b"yield"]] if call.name == "claim" else b"go_on")


def requeue(recorder: JobRecorder) -> None:
    recorder.requeue("yielded", inference_ms=1)


def crash(recorder: JobRecorder) -> None:
    recorder.log_crash(recorder.report_crash(inference_ms=1), inference_ms=1)


def fail(recorder: JobRecorder) -> None:
    recorder.end(JobState.FAILED, Failure(FailureCode.ENGINE_ERROR, "It broke."), inference_ms=1)


def succeed(recorder: JobRecorder) -> None:
    recorder.end(JobState.SUCCEEDED, inference_ms=1)


def cancel(recorder: JobRecorder) -> None:
    recorder.end(JobState.CANCELLED, inference_ms=1)


@pytest.mark.parametrize(("write", "reason"), [(requeue, "yielded"), (crash, "engine_crash")])
def test_a_job_that_goes_on_is_logged_as_requeued(write: Write, reason: str) -> None:
    assert log_of(write, "requeued") == [{"event": "job_requeued", "reason": reason}]


@pytest.mark.parametrize(
    ("write", "outcome", "fields"),
    [
        (succeed, "finished", {"state": "succeeded"}),
        (fail, "already", {"state": "failed", "code": "engine_error", "reason": "It broke."}),
        (crash, "failed", {"state": "failed", "reason": "engine_crash"}),
        (cancel, "cancelled", {"state": "cancelled"}),
        (requeue, "cancelled", {"state": "cancelled"}),
    ],
)
def test_a_final_job_is_logged_as_ended(write: Write, outcome: str, fields: dict[str, str]) -> None:
    amounts = {"duration_s": 9.0, "inference_s": 0.001}
    assert log_of(write, outcome) == [{"event": "job_ended"} | amounts | fields]


@pytest.mark.parametrize("write", [succeed, cancel, requeue, crash, fail])
def test_a_stale_claim_is_logged_as_lost(write: Write) -> None:
    assert log_of(write, "stale") == [{"event": "claim_lost"}]
