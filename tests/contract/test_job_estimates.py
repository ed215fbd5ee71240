"""Estimates of a job's end, and the state of the model that will serve it; on a fake and on a real server."""

import msgspec

from shared.capabilities import ModelState, WorkerPresence
from shared.events import Queued
from shared.jobs import Claim, Endpoint, Job, JobState, NewJob, Priority, TranscriptionRequest, Upload
from shared.record import transitions
from shared.record.admission import submit_job
from shared.record.readings import LOG_START, list_jobs
from shared.record.scripts import ScriptRunner
from shared.record.workers import announce_worker, retire_worker
from shared.transcripts import FinishedWindow
from tests.support.record_readings import read_job, read_log
from tests.support.scripted_worker import CAPABILITIES
from tests.support.single_claims import claim_job

PRESENCE = WorkerPresence("w", CAPABILITIES, ModelState.READY, "cpu")


def submit(runner: ScriptRunner, job_id: str, audio_s: float = 10.0) -> None:
    upload = Upload(job_id, "a.wav", size_bytes=1, sha256="", duration_s=audio_s)
    runner.run(submit_job(NewJob(job_id, Endpoint.JOBS, Priority.BATCH, upload, TranscriptionRequest())))


def announce(runner: ScriptRunner, worker_id: str = "w", *, is_ready: bool = True, **changes: object) -> None:
    state = ModelState.READY if is_ready else ModelState.ABSENT
    presence = msgspec.structs.replace(PRESENCE, worker_id=worker_id, model_state=state)
    runner.run(announce_worker(msgspec.structs.replace(presence, **changes)))


def claim(runner: ScriptRunner, worker_id: str = "w") -> Claim:
    claimed = runner.run(claim_job(worker_id, engine="e", model="m", lease_s=30))
    assert claimed is not None
    return claimed


def finish_window(
    runner: ScriptRunner, claimed: Claim, processed_s: float, took_ms: int, *, rows: int = 1
) -> None:
    finished = FinishedWindow((), window=0, resume_sample=round(processed_s * 16_000), rows=rows)
    runner.run(transitions.finish_window(claimed, finished, inference_ms=took_ms, cost_ms=took_ms))


def measure_speed(runner: ScriptRunner, speed: int, *, job_id: str = "measured", rows: int = 1) -> None:
    """Let a worker do a job at so many seconds of audio in a second, as one of so many rows."""
    submit(runner, job_id)
    claimed = claim(runner)
    finish_window(runner, claimed, 10.0, took_ms=10_000 // speed, rows=rows)
    runner.run(transitions.finish_job(claimed, JobState.SUCCEEDED, ttl_s=60))


def read(runner: ScriptRunner, job_id: str) -> Job:
    job = runner.run(read_job(job_id))
    assert job is not None
    return job


def test_an_eta_is_unknown_until_a_speed_was_measured_and_a_worker_is_there(runner: ScriptRunner) -> None:
    announce(runner)
    submit(runner, "1")
    assert read(runner, "1").eta_s is None
    finish_window(runner, claim(runner), 5.0, took_ms=500)
    assert read(runner, "1").eta_s == 0.5
    runner.run(retire_worker("w"))
    assert read(runner, "1").eta_s is None


def test_an_eta_counts_what_runs_what_is_ahead_and_the_job_itself(runner: ScriptRunner) -> None:
    announce(runner)
    measure_speed(runner, 2)
    for job_id in ("1", "2", "3"):
        submit(runner, job_id)
    assert [read(runner, job_id).eta_s for job_id in ("1", "2", "3")] == [5.0, 10.0, 15.0]
    claimed = claim(runner)
    finish_window(runner, claimed, 4.0, took_ms=2_000)
    assert [read(runner, job_id).eta_s for job_id in ("1", "2", "3")] == [3.0, 8.0, 13.0]


def test_the_eta_of_a_running_job_follows_the_speed_measured_in_it(runner: ScriptRunner) -> None:
    announce(runner)
    measure_speed(runner, 20)
    submit(runner, "1")
    claimed = claim(runner)
    assert read(runner, "1").eta_s == 0.5
    finish_window(runner, claimed, 4.0, took_ms=8_000)
    assert read(runner, "1").eta_s == 12.0
    submit(runner, "2")
    assert read(runner, "1").eta_s == 12.0


def test_workers_share_what_is_ahead_but_no_single_job(runner: ScriptRunner) -> None:
    announce(runner)
    announce(runner, "v")
    announce(runner, "ill", takes_jobs=False)
    measure_speed(runner, 2)
    submit(runner, "1")
    submit(runner, "2")
    assert [read(runner, job_id).eta_s for job_id in ("1", "2")] == [5.0, 7.5]


def test_the_jobs_of_a_batch_are_done_together_at_the_speed_of_its_rows(runner: ScriptRunner) -> None:
    announce(runner, max_rows=16)
    measure_speed(runner, 4)
    measure_speed(runner, 20, job_id="in a batch", rows=17)
    submit(runner, "0")
    assert read(runner, "0").eta_s == 2.5
    for number in range(1, 32):
        submit(runner, f"{number}")
    assert [read(runner, job_id).eta_s for job_id in ("0", "15", "31")] == [8.0, 8.0, 16.0]


def test_a_batch_that_is_no_longer_possible_does_not_count(runner: ScriptRunner) -> None:
    announce(runner, max_rows=4)
    measure_speed(runner, 2, rows=3)
    measure_speed(runner, 20, job_id="in a batch", rows=16)
    for number in range(20):
        submit(runner, f"{number}")
    assert read(runner, "19").eta_s == 100.0


def test_a_job_that_is_final_has_no_eta(runner: ScriptRunner) -> None:
    announce(runner)
    measure_speed(runner, 2)
    job = read(runner, "measured")
    assert (job.eta_s, job.model_state, job.inference_ms) == (None, None, 5_000)


def test_far_behind_the_mean_length_of_what_is_ahead_counts(runner: ScriptRunner) -> None:
    announce(runner)
    measure_speed(runner, 2)
    for number in range(20):
        submit(runner, f"near{number}", 2.0)
    for number in range(4):
        submit(runner, f"far{number}", 10.0)
    submit(runner, "last", 20.0)
    # Behind the first twenty there are 60 s of audio in five jobs, of which four are ahead.
    assert read(runner, "far0").eta_s == (40 + 10) / 2
    assert read(runner, "last").eta_s == (40 + 4 * 12 + 20) / 2


def test_the_event_of_a_queued_job_and_the_list_say_the_same_as_the_job(runner: ScriptRunner) -> None:
    announce(runner)
    measure_speed(runner, 2)
    submit(runner, "1")
    submit(runner, "2")
    page = runner.run(read_log("2", after_id=LOG_START))
    assert page is not None
    assert [logged.event for logged in page.events] == [Queued(1, 10.0)]
    listed = {entry.job.job_id: entry.job for entry in runner.run(list_jobs(limit=10)).jobs}
    assert listed == {job_id: read(runner, job_id) for job_id in ("2", "1", "measured")}


def test_a_queued_job_knows_of_the_model_that_is_nearest_to_being_loaded(runner: ScriptRunner) -> None:
    submit(runner, "1")
    assert read(runner, "1").model_state is None
    announce(runner, "a", is_ready=False)
    assert read(runner, "1").model_state is ModelState.ABSENT
    announce(runner, "b", model_state=ModelState.LOADING)
    assert read(runner, "1").model_state is ModelState.LOADING
    announce(runner, "c")
    assert read(runner, "1").model_state is ModelState.READY
    announce(runner, "c", takes_jobs=False)
    assert read(runner, "1").model_state is ModelState.LOADING


def test_a_running_job_knows_of_the_model_of_its_own_worker(runner: ScriptRunner) -> None:
    announce(runner, "a", is_ready=False)
    announce(runner, "b")
    submit(runner, "1")
    claim(runner, "a")
    assert read(runner, "1").model_state is ModelState.ABSENT
    announce(runner, "a", model_state=ModelState.LOADING)
    assert read(runner, "1").model_state is ModelState.LOADING
    announce(runner, "a", model_state=ModelState.BUSY)
    assert read(runner, "1").model_state is ModelState.BUSY
    runner.run(retire_worker("a"))
    assert read(runner, "1").model_state is None
