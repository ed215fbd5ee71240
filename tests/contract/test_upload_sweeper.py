"""The upload sweeper deletes what no job needs, and nothing else."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.upload_sweeper import SETTLED_S, UNFINISHED_S, UploadSweeper
from shared.jobs import Endpoint, NewJob, Priority, TranscriptionRequest, Upload
from shared.record import transitions
from shared.record.admission import submit_job
from shared.record.connection import open_async_connection
from shared.record.readings import read_job
from shared.record.scripts import AsyncScriptRunner
from shared.upload_store import UploadStore

TTL_S = 3_600.0


@pytest.fixture
async def runner(redis_url: str) -> AsyncIterator[AsyncScriptRunner]:
    connection = open_async_connection(redis_url)
    yield AsyncScriptRunner(connection)
    await connection.aclose()


def store_file(folder: Path, name: str, *, age_s: float) -> None:
    (folder / name).write_bytes(b"sound")
    then = time.time() - age_s
    os.utime(folder / name, (then, then))


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def new_job(job_id: str) -> NewJob:
    upload = Upload(job_id, "a.wav", 5, "ab", 2.0)
    return NewJob(job_id, Endpoint.JOBS, Priority.BATCH, upload, TranscriptionRequest())


async def test_only_old_uploads_without_an_unfinished_job_are_deleted(
    runner: AsyncScriptRunner, tmp_path: Path
) -> None:
    for job_id in ("queued", "running", "cancelled"):
        await runner.run(submit_job(new_job(job_id)))
    await runner.run(transitions.cancel_job("cancelled", ttl_s=TTL_S))
    await runner.run(transitions.claim_job("w", engine="whisper", model="base", lease_s=30))
    for name in ("queued", "running", "cancelled", "orphan", "interrupted.part"):
        store_file(tmp_path, name, age_s=TTL_S + 60)
    for name in ("young", "arriving.part"):
        store_file(tmp_path, name, age_s=TTL_S - 60)
    await UploadSweeper(runner, UploadStore(tmp_path), upload_ttl_s=TTL_S).sweep()
    assert names_in(tmp_path) == {"queued", "running", "young", "arriving.part"}


async def test_an_upload_that_is_still_being_taken_in_is_safe_from_any_setting(
    runner: AsyncScriptRunner, tmp_path: Path
) -> None:
    store_file(tmp_path, "committed", age_s=SETTLED_S - 60)
    store_file(tmp_path, "arriving.part", age_s=UNFINISHED_S - 60)
    await UploadSweeper(runner, UploadStore(tmp_path), upload_ttl_s=0).sweep()
    assert names_in(tmp_path) == {"committed", "arriving.part"}


async def test_audio_of_a_final_job_goes_at_its_own_ttl_and_the_record_stays(
    runner: AsyncScriptRunner, tmp_path: Path
) -> None:
    for job_id in ("past its TTL", "within its TTL"):
        await runner.run(submit_job(new_job(job_id)))
        await runner.run(transitions.cancel_job(job_id, ttl_s=TTL_S))
    store_file(tmp_path, "past its TTL", age_s=3)
    store_file(tmp_path, "within its TTL", age_s=1)
    await UploadSweeper(runner, UploadStore(tmp_path), upload_ttl_s=2).sweep()
    assert names_in(tmp_path) == {"within its TTL"}
    assert await runner.run(read_job("past its TTL")) is not None


async def test_a_record_goes_at_its_own_ttl_and_the_audio_stays(
    runner: AsyncScriptRunner, tmp_path: Path
) -> None:
    store_file(tmp_path, "short", age_s=0)
    await runner.run(submit_job(new_job("short")))
    await runner.run(transitions.cancel_job("short", ttl_s=0.05))
    await asyncio.sleep(0.2)
    assert await runner.run(read_job("short")) is None
    await UploadSweeper(runner, UploadStore(tmp_path), upload_ttl_s=TTL_S).sweep()
    assert names_in(tmp_path) == {"short"}
