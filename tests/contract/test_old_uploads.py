"""The sweeper deletes old uploads that no job needs, and nothing else."""

import os
import time
from pathlib import Path

import pytest

from shared.broker import create_celery
from shared.jobs import Endpoint, NewJob, Priority, TranscriptionRequest, Upload
from shared.record import transitions
from shared.record.admission import submit_job
from shared.record.scripts import ScriptRunner
from shared.record.sweeper import SETTLED_S, UNFINISHED_S, Sweeper
from shared.settings import SharedSettings
from tests.support.log_lines import capture_log_lines
from tests.support.record_readings import read_job
from tests.support.single_claims import claim_job

TTL_S = 3_600.0


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    (tmp_path / "uploads").mkdir()
    return tmp_path / "uploads"


def delete_old_uploads(runner: ScriptRunner, uploads: Path, *, ttl_s: float) -> None:
    settings = SharedSettings(data_dir=uploads.parent, upload_ttl_s=ttl_s)
    Sweeper(runner, create_celery(settings.redis_url), settings).delete_old_uploads()


def store_file(folder: Path, name: str, *, age_s: float) -> None:
    (folder / name).write_bytes(b"sound")
    then = time.time() - age_s
    os.utime(folder / name, (then, then))


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def new_job(job_id: str) -> NewJob:
    upload = Upload(job_id, "a.wav", 5, "ab", 2.0)
    return NewJob(job_id, Endpoint.JOBS, Priority.BATCH, upload, TranscriptionRequest())


def test_only_old_uploads_without_an_unfinished_job_are_deleted(runner: ScriptRunner, uploads: Path) -> None:
    for job_id in ("queued", "running", "cancelled"):
        runner.run(submit_job(new_job(job_id)))
    runner.run(transitions.cancel_job("cancelled", ttl_s=TTL_S))
    runner.run(claim_job("w", engine="whisper", model="base", lease_s=30))
    for name in ("queued", "running", "running.pcm", "cancelled", "orphan", "orphan.pcm", "interrupted.part"):
        store_file(uploads, name, age_s=TTL_S + 60)
    store_file(uploads, "killed.pcm", age_s=TTL_S + 60)  # its upload went before it
    for name in ("young", "arriving.part"):
        store_file(uploads, name, age_s=TTL_S - 60)
    delete_old_uploads(runner, uploads, ttl_s=TTL_S)
    assert names_in(uploads) == {"queued", "running", "running.pcm", "young", "arriving.part"}


@pytest.mark.parametrize("stuck", ["stuck", "stuck.part"])
def test_a_file_that_cannot_be_deleted_keeps_no_other(
    runner: ScriptRunner, uploads: Path, monkeypatch: pytest.MonkeyPatch, stuck: str
) -> None:
    unlink = Path.unlink

    def refuse(path: Path, *, missing_ok: bool) -> None:
        if path.name == stuck:
            raise PermissionError
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    for name in ("a", "b", "c.part", "d.part", stuck):
        store_file(uploads, name, age_s=TTL_S + 60)
    (uploads / "lost+found").mkdir()
    os.utime(uploads / "lost+found", (0, 0))
    with capture_log_lines() as lines:
        delete_old_uploads(runner, uploads, ttl_s=TTL_S)
    assert names_in(uploads) == {stuck, "lost+found"}
    assert [line["job_id"] for line in lines if line["event"] == "upload_not_deleted"] == [stuck]


def test_an_upload_that_is_still_being_taken_in_is_safe_from_any_setting(
    runner: ScriptRunner, uploads: Path
) -> None:
    store_file(uploads, "committed", age_s=SETTLED_S - 60)
    store_file(uploads, "arriving.part", age_s=UNFINISHED_S - 60)
    delete_old_uploads(runner, uploads, ttl_s=0)
    assert names_in(uploads) == {"committed", "arriving.part"}


def test_audio_of_a_final_job_goes_at_its_own_ttl_and_the_record_stays(
    runner: ScriptRunner, uploads: Path
) -> None:
    for job_id in ("past its TTL", "within its TTL"):
        runner.run(submit_job(new_job(job_id)))
        runner.run(transitions.cancel_job(job_id, ttl_s=TTL_S))
    store_file(uploads, "past its TTL", age_s=3)
    store_file(uploads, "within its TTL", age_s=1)
    delete_old_uploads(runner, uploads, ttl_s=2)
    assert names_in(uploads) == {"within its TTL"}
    assert runner.run(read_job("past its TTL")) is not None


def test_a_record_goes_at_its_own_ttl_and_the_audio_stays(runner: ScriptRunner, uploads: Path) -> None:
    store_file(uploads, "short", age_s=0)
    runner.run(submit_job(new_job("short")))
    runner.run(transitions.cancel_job("short", ttl_s=0.05))
    time.sleep(0.2)
    assert runner.run(read_job("short")) is None
    delete_old_uploads(runner, uploads, ttl_s=TTL_S)
    assert names_in(uploads) == {"short"}


def test_a_worker_that_starts_before_the_api_finds_no_uploads(runner: ScriptRunner, tmp_path: Path) -> None:
    delete_old_uploads(runner, tmp_path / "uploads", ttl_s=0)
    assert not (tmp_path / "uploads").exists()
