"""A sweep that fails is not the last one."""

import threading
from pathlib import Path

from shared.broker import create_celery
from shared.jobs import Endpoint, NewJob, Priority, TranscriptionRequest, Upload
from shared.record.admission import submit_job
from shared.record.connection import connect
from shared.record.sweeper import Sweeper
from shared.record.version import RecordVersionMismatch
from shared.settings import SharedSettings
from shared.upload_store import UploadStore
from tests.support.log_lines import capture_log_lines


class BreakingSweeper(Sweeper):
    """Counts its sweeps, each of which raises the error."""

    def __init__(self, redis_url: str, error: Exception) -> None:
        super().__init__(connect(redis_url), create_celery(redis_url), SharedSettings(redis_url=redis_url))
        self.sweeps = threading.Semaphore(0)
        self._error = error

    def sweep(self) -> None:
        self.sweeps.release()
        raise self._error


def sweep_some_times(redis_url: str, error: Exception) -> None:
    sweeper = BreakingSweeper(redis_url, error)
    sweeper.start()
    for _ in range(3):
        assert sweeper.sweeps.acquire(timeout=30)
    sweeper.stop()


def test_the_sweep_that_ends_a_job_logs_its_end(redis_url: str) -> None:
    runner = connect(redis_url)
    upload = Upload("a", "a.wav", size_bytes=1, sha256="", duration_s=1.0)
    runner.run(submit_job(NewJob("a", Endpoint.JOBS, Priority.BATCH, upload, TranscriptionRequest())))
    settings = SharedSettings(redis_url=redis_url, queue_ttl_s=0.001)
    with capture_log_lines() as lines:
        while not lines:
            Sweeper(runner, create_celery(redis_url), settings).sweep()
    [line] = lines
    assert (line["event"], line["state"], line["reason"]) == ("job_ended", "failed", "expired")


def test_the_samples_of_a_job_go_with_its_failure_and_its_upload_stays(
    redis_url: str, tmp_path: Path
) -> None:
    settings = SharedSettings(redis_url=redis_url, queue_ttl_s=0.001, data_dir=tmp_path)
    uploads = UploadStore(settings.uploads_dir)
    uploads.prepare()
    uploads.path_of("a").write_bytes(b"upload")
    samples = uploads.path_of_samples("a")
    samples.write_bytes(b"samples")
    runner = connect(redis_url)
    upload = Upload("a", "a.wav", size_bytes=6, sha256="", duration_s=1.0)
    runner.run(submit_job(NewJob("a", Endpoint.JOBS, Priority.BATCH, upload, TranscriptionRequest())))
    with capture_log_lines() as lines:
        while not lines:
            Sweeper(runner, create_celery(redis_url), settings).sweep()
    assert not samples.exists()
    assert uploads.path_of("a").exists()


def test_an_error_that_nobody_foresaw_costs_one_sweep(redis_url: str) -> None:
    sweep_some_times(redis_url, RuntimeError())


def test_another_record_version_is_not_reported_by_each_sweep(redis_url: str) -> None:
    with capture_log_lines() as lines:
        sweep_some_times(redis_url, RecordVersionMismatch(1))
    assert [line["event"] for line in lines] == ["record_version_mismatch"]
