"""A worker without room for a decoder waits, and its job succeeds at the first attempt."""

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.broker import create_celery
from shared.jobs import Endpoint, Job, JobState, NewJob, Priority, TranscriptionRequest, Upload
from shared.media import server_process
from shared.record.admission import submit_job
from shared.record.connection import connect
from tests.support.audio import make_tones, write_wav
from tests.support.record_readings import read_job
from tests.support.server import wait_for
from worker.runtime import WorkerRuntime
from worker.settings import WorkerSettings

SPOKEN_S = 3


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, redis_url: str, tmp_path: Path) -> WorkerSettings:
    """Return the settings of a worker with the scripted engine, which its model process reads too."""
    for name, value in {"ENGINE": "scripted", "REDIS_URL": redis_url, "DATA_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    return WorkerSettings()


@pytest.fixture
def runtime(settings: WorkerSettings) -> Iterator[WorkerRuntime]:
    """Provide a worker in this process, which the test starts."""
    runtime = WorkerRuntime(settings, create_celery(settings.redis_url))
    yield runtime
    runtime.stop()


def store_job(settings: WorkerSettings) -> str:
    job_id = uuid.uuid4().hex
    settings.uploads_dir.mkdir()
    (settings.uploads_dir / job_id).write_bytes(write_wav(make_tones(SPOKEN_S, seed=1)))
    upload = Upload(job_id, "talk.wav", size_bytes=1, sha256="", duration_s=SPOKEN_S)
    job = NewJob(job_id, Endpoint.JOBS, Priority.BATCH, upload, TranscriptionRequest())
    connect(settings.redis_url).run(submit_job(job))
    return job_id


def read_final_job(settings: WorkerSettings, job_id: str) -> Job | None:
    job = connect(settings.redis_url).run(read_job(job_id))
    return job if job and job.state.is_final else None


def test_a_short_shortage_of_processes_costs_no_attempt(
    settings: WorkerSettings, runtime: WorkerRuntime, tmp_path: Path
) -> None:
    job_id, tries = store_job(settings), tmp_path / "tries"
    code = f"import os; os.write(os.open({os.fspath(tries)!r}, os.O_CREAT | os.O_APPEND | os.O_WRONLY), b'.')"
    with pytest.MonkeyPatch.context() as shortage:
        shortage.setattr(server_process, "_COMMAND", (sys.executable, "-c", code))
        runtime.start()
        # Each try of the job is two of the service.
        wait_for(lambda: tries.exists() and tries.stat().st_size > 2, what="a second try of the job")
    job = wait_for(lambda: read_final_job(settings, job_id), what="the end of the job")
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)
