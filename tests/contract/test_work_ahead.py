"""The wait of an interactive job, estimated before its submit; on a fake and on a real server."""

import pytest

from shared.capabilities import ModelState, WorkerPresence
from shared.jobs import Claim, Endpoint, NewJob, Priority, TranscriptionRequest, Upload
from shared.record import transitions
from shared.record.admission import AdmissionForecast, check_admission, make_policy, submit_job
from shared.record.scripts import ScriptRunner
from shared.record.workers import announce_worker
from shared.transcripts import FinishedWindow
from tests.support.record_readings import read_job
from tests.support.scripted_worker import CAPABILITIES
from tests.support.single_claims import claim_job


def submit(
    runner: ScriptRunner,
    *job_ids: str,
    key: str = "",
    audio_s: float = 10.0,
    priority: Priority = Priority.INTERACTIVE,
) -> None:
    for job_id in job_ids:
        upload = Upload(job_id, "a.wav", size_bytes=1, sha256="", duration_s=audio_s)
        runner.run(submit_job(NewJob(job_id, Endpoint.SYNC, priority, upload, TranscriptionRequest(), key)))


def claim(runner: ScriptRunner) -> Claim:
    claimed = runner.run(claim_job("w", engine="e", model="m", lease_s=30))
    assert claimed is not None
    return claimed


def look(runner: ScriptRunner, key: str = "") -> AdmissionForecast:
    return runner.run(check_admission(make_policy(key_name=key)))


def ahead_s(runner: ScriptRunner, key: str = "") -> float:
    """The audio ahead of an interactive job, in seconds."""
    forecast = look(runner, key)
    return forecast.wait_s * (forecast.backlog.speed or 1.0)


def find_position(runner: ScriptRunner, job_id: str) -> int | None:
    job = runner.run(read_job(job_id))
    assert job is not None
    return job.position


def test_nothing_is_ahead_in_an_empty_queue(runner: ScriptRunner) -> None:
    assert look(runner).wait_s == 0.0


def test_neither_batch_nor_what_runs_is_ahead(runner: ScriptRunner) -> None:
    submit(runner, "batch1", "batch2", audio_s=3600, priority=Priority.BATCH)
    claim(runner)
    assert ahead_s(runner) == 0.0
    submit(runner, "1", "2")
    assert ahead_s(runner) == 20.0


def test_one_that_was_begun_before_counts_for_what_is_left_of_it(runner: ScriptRunner) -> None:
    submit(runner, "1")
    claimed = claim(runner)
    window = FinishedWindow((), window=0, resume_sample=64_000)
    runner.run(transitions.finish_window(claimed, window, cost_ms=1_000))
    runner.run(transitions.yield_job(claimed, reason="yielded"))
    assert ahead_s(runner) == 6.0


@pytest.mark.parametrize("key", ["", "flood", "other"])
def test_as_many_are_ahead_as_the_job_then_finds(runner: ScriptRunner, key: str) -> None:
    """Keys have equal shares: what one of them has queued is not all ahead of another."""
    submit(runner, *(f"first{number}" for number in range(8)), key="flood")
    claim(runner)
    claim(runner)
    submit(runner, "other1", "other2", key="other")
    found_s = ahead_s(runner, key)
    submit(runner, "new", key=key)
    assert find_position(runner, "new") == found_s / 10.0


def test_far_ahead_the_mean_of_interactive_jobs_counts(runner: ScriptRunner) -> None:
    for number in range(30):
        submit(runner, f"{number}", audio_s=10.0 if number < 20 else 30.0)
    submit(runner, "batch", audio_s=3600, priority=Priority.BATCH)
    assert ahead_s(runner) == 300.0


def test_workers_share_what_is_ahead_at_their_speed(runner: ScriptRunner) -> None:
    submit(runner, "measured")
    claimed = claim(runner)
    submit(runner, "1", "2", "3")
    assert look(runner).wait_s == 30.0  # nobody was measured yet: in real time, by one
    window = FinishedWindow((), window=0, resume_sample=160_000)
    runner.run(transitions.finish_window(claimed, window, cost_ms=5_000))
    assert look(runner).wait_s == 15.0
    for worker_id in ("w", "v"):
        presence = WorkerPresence(worker_id, CAPABILITIES, ModelState.READY, "cpu")
        runner.run(announce_worker(presence))
    assert look(runner).wait_s == 7.5
