"""The probe of a short upload stores its samples. A job gives the same text with and without them."""

import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from shared.broker import create_celery
from shared.errors import UnreadableAudio
from shared.jobs import Endpoint, Job, JobState, NewJob, Priority, TranscriptionRequest, Upload
from shared.media.client import MediaService
from shared.media.pcm_frames import DecodingFailed
from shared.media.samples import read_stored_pcm
from shared.media.stored_samples import open_samples
from shared.record.admission import submit_job
from shared.record.connection import connect
from tests.process.media_driver import (
    decode,
    fork_server,
    make_service,
    serving_decoder,
    wait_until,
)
from tests.support.media_files import CLIPS, damage, encode, make_tone, repeat_clip
from tests.support.probing import probe
from tests.support.record_readings import read_job
from tests.support.sandboxed_decoders import find_serving_decoders
from tests.support.server import wait_for
from worker.runtime import WorkerRuntime
from worker.settings import WorkerSettings

STORED_S = 60.0
CLIP_NAMES = sorted(path.name for path in CLIPS.iterdir() if path.suffix not in (".py", ".tsv"))


@pytest.fixture(scope="module")
def service() -> Iterator[MediaService]:
    """Provide a running service."""
    with make_service() as running:
        yield running


def store(service: MediaService, path: Path, stored: Path, *, stored_s: float = STORED_S) -> float:
    """Probe the file, store its samples, and return its duration."""
    with service.begin_probe(path, stored_s=stored_s) as probe:
        duration_s = probe.receive_duration_s()
        probe.store_samples(stored, upload_sha256=digest(path))
    return duration_s


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def read_stored(path: Path, stored: Path, *, start_sample: int = 0) -> npt.NDArray[np.float32]:
    """Return the samples of the file at `path`."""
    descriptor = open_samples(stored, upload_sha256=digest(path), start_sample=start_sample)
    assert descriptor is not None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        return np.concatenate([np.zeros(0, np.float32), *read_stored_pcm(file)])


def assert_same_as_decoded(service: MediaService, path: Path, stored: Path) -> None:
    """Check that the probe answers as without storing, and stores what a decoder would give, or nothing."""
    try:
        duration_s = probe(service, path)
    except UnreadableAudio as error:
        with pytest.raises(UnreadableAudio, match=re.escape(error.message)):
            store(service, path, stored)
        assert not stored.exists()
        return
    assert store(service, path, stored) == duration_s
    try:
        decoded = decode(service, path, declared_duration_s=duration_s)
    except DecodingFailed:
        assert not stored.exists()
    else:
        assert np.array_equal(read_stored(path, stored), decoded)
        assert np.array_equal(read_stored(path, stored, start_sample=7_001), decoded[7_001:])


@pytest.mark.parametrize("clip", CLIP_NAMES)
def test_stored_samples_of_every_clip_are_those_of_a_decoder(
    service: MediaService, tmp_path: Path, clip: str
) -> None:
    assert_same_as_decoded(service, CLIPS / clip, tmp_path / "stored")


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6, 40])
def test_stored_samples_are_the_same_for_any_rate_and_channels(
    service: MediaService, tmp_path: Path, rate_hz: int, channels: int
) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.tile(make_tone(1.3, rate_hz=rate_hz)[:, None], channels), rate_hz)
    assert_same_as_decoded(service, path, tmp_path / "stored")


@pytest.mark.parametrize("clip", ["speech.mp3", "speech.aac", "speech.flac", "speech.m4a", "speech.ogg"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_stored_samples_of_a_damaged_file_are_those_of_a_decoder(
    service: MediaService, tmp_path: Path, clip: str, share: float
) -> None:
    path = tmp_path / clip
    content = (CLIPS / clip).read_bytes()
    path.write_bytes(content)
    begin = int(share * len(content))
    assert_same_as_decoded(service, damage(path, begin=begin, end=begin + len(content) // 20), tmp_path / "s")


def test_a_rate_that_changes_is_followed_in_stored_samples(service: MediaService, tmp_path: Path) -> None:
    slow = encode(make_tone(1.0), tmp_path / "slow.aac", codec="aac", rate_hz=16_000)
    fast = encode(make_tone(1.0, rate_hz=44_100), tmp_path / "fast.aac", codec="aac", rate_hz=44_100)
    slow.write_bytes(slow.read_bytes() + fast.read_bytes())
    assert_same_as_decoded(service, slow, tmp_path / "stored")


def test_samples_of_a_longer_upload_are_not_stored(service: MediaService, tmp_path: Path) -> None:
    stored = tmp_path / "stored"
    assert store(service, CLIPS / "speech.wav", stored, stored_s=4.0) == probe(service, CLIPS / "speech.wav")
    assert not stored.exists()


def test_a_decoder_that_dies_after_its_answer_costs_only_the_samples(tmp_path: Path) -> None:
    upload = repeat_clip("speech.mp3", tmp_path / "minutes.mp3", times=100)
    with make_service() as service:
        with service.begin_probe(upload, stored_s=1_000) as probe:
            assert probe.receive_duration_s() == pytest.approx(420, abs=10)
            serving_decoder(service).kill()
            probe.store_samples(tmp_path / "stored", upload_sha256=digest(upload))
        assert not (tmp_path / "stored").exists()
        assert len(decode(service, upload)) > 400 * 16_000


def test_a_probe_that_is_abandoned_ends_its_decoder(tmp_path: Path) -> None:
    upload = repeat_clip("speech.mp3", tmp_path / "minutes.mp3", times=100)
    with make_service() as service:
        with service.begin_probe(upload, stored_s=1_000) as probe:
            probe.receive_duration_s()
        wait_until(lambda: not find_serving_decoders(fork_server(service)))


def test_a_decoder_cannot_open_the_file_of_samples(tmp_path: Path) -> None:
    upload = repeat_clip("speech.mp3", tmp_path / "minutes.mp3", times=100)
    with make_service() as service, service.begin_probe(upload, stored_s=1_000) as probe:
        probe.receive_duration_s()
        decoder = serving_decoder(service)  # it decodes more than its socket takes
        assert [Path(file.path) for file in decoder.open_files()] == [upload]


# Jobs


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, redis_url: str, tmp_path: Path) -> WorkerSettings:
    """Return the settings of a worker with the scripted engine, which its model process reads too."""
    for name, value in {"ENGINE": "scripted", "REDIS_URL": redis_url, "DATA_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    settings = WorkerSettings()
    settings.uploads_dir.mkdir()
    return settings


@pytest.fixture
def runtime(settings: WorkerSettings) -> Iterator[WorkerRuntime]:
    """Provide a worker in this process."""
    runtime = WorkerRuntime(settings, create_celery(settings.redis_url))
    runtime.start()
    yield runtime
    runtime.stop()


class Jobs:
    """Jobs of one clip that a test prepares."""

    def __init__(self, settings: WorkerSettings, service: MediaService) -> None:
        self._folder = settings.uploads_dir
        self._service = service
        self._record = connect(settings.redis_url)
        self._digests: dict[str, str] = {}

    def close(self) -> None:
        """Close the connection."""
        self._record.close()

    def store(self, clip: str) -> tuple[str, Path]:
        """Store the clip and its samples; return the id of its job, and the path of the samples."""
        job_id = uuid.uuid4().hex
        (self._folder / job_id).write_bytes((CLIPS / clip).read_bytes())
        self._digests[job_id] = digest(CLIPS / clip)
        stored = self._folder / f"{job_id}.pcm"
        store(self._service, self._folder / job_id, stored)
        return job_id, stored

    def spoil_upload(self, job_id: str) -> None:
        """Overwrite the upload, so that only its samples give the text."""
        (self._folder / job_id).write_bytes(b"garbage")

    def run(self, job_id: str) -> Job:
        """Submit the job and return it when it is final."""
        upload = Upload(job_id, "talk.wav", size_bytes=1, sha256=self._digests[job_id], duration_s=4.115)
        job = NewJob(job_id, Endpoint.JOBS, Priority.BATCH, upload, TranscriptionRequest())
        self._record.run(submit_job(job))
        return wait_for(lambda: self._find_final(job_id), what="the end of the job")

    def _find_final(self, job_id: str) -> Job | None:
        job = self._record.run(read_job(job_id))
        return job if job and job.state.is_final else None


@pytest.fixture
def jobs(settings: WorkerSettings, service: MediaService) -> Iterator[Jobs]:
    """Provide the jobs, on a connection that is closed after the test."""
    with closing(Jobs(settings, service)) as jobs:
        yield jobs


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("clip", ["speech.wav", "speech.mp3", "speech.m4a"])
def test_a_job_has_the_same_segments_with_and_without_stored_samples(jobs: Jobs, clip: str) -> None:
    with_samples, stored = jobs.store(clip)
    jobs.spoil_upload(with_samples)
    without, missing = jobs.store(clip)
    missing.unlink()
    first, second = jobs.run(with_samples), jobs.run(without)
    assert first.state is second.state is JobState.SUCCEEDED
    assert first.segments == second.segments != ()
    assert first.warnings == second.warnings
    wait_for(lambda: not stored.exists(), what="the end of the samples")


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("size", [0, 12, 50_000])
def test_a_job_with_cut_samples_decodes_its_upload(jobs: Jobs, size: int) -> None:
    whole, _ = jobs.store("speech.wav")
    cut, stored = jobs.store("speech.wav")
    os.truncate(stored, size)
    first, second = jobs.run(whole), jobs.run(cut)
    assert first.state is second.state is JobState.SUCCEEDED
    assert first.segments == second.segments
    wait_for(lambda: not stored.exists(), what="the end of the samples")


def replace_by_pipe(stored: Path) -> None:
    stored.unlink()
    os.mkfifo(stored)


def replace_by_loop(stored: Path) -> None:
    stored.unlink()
    stored.symlink_to(stored)


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("replace", [replace_by_pipe, replace_by_loop])
def test_a_job_without_a_file_of_samples_decodes_its_upload(
    jobs: Jobs, replace: Callable[[Path], None]
) -> None:
    job_id, stored = jobs.store("speech.wav")
    replace(stored)
    assert jobs.run(job_id).state is JobState.SUCCEEDED


@pytest.mark.usefixtures("runtime")
def test_a_job_with_the_samples_of_another_upload_decodes_its_own(jobs: Jobs) -> None:
    own, _ = jobs.store("speech.wav")
    mixed_up, stored = jobs.store("speech.wav")
    _, stored_silence = jobs.store("silence.flac")
    stored_silence.replace(stored)
    assert jobs.run(mixed_up).segments == jobs.run(own).segments


@pytest.mark.usefixtures("runtime")
def test_a_failed_job_leaves_no_samples(jobs: Jobs) -> None:
    job_id, stored = jobs.store("speech.wav")
    os.truncate(stored, 20_000)
    jobs.spoil_upload(job_id)
    assert jobs.run(job_id).state is JobState.FAILED
    wait_for(lambda: not stored.exists(), what="the end of the samples")
