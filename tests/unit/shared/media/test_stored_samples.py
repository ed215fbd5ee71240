"""Stored samples are read back as they were written, and not used if anything about them is wrong."""

import os
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from shared.jobs import Failure, FailureCode
from shared.media import stored_samples
from shared.media.pcm_frames import DecodingFailed
from shared.media.samples import read_stored_pcm
from shared.media.stored_samples import open_samples, store_samples

COUNT = 40_000
PCM = np.arange(-20_000, 20_000, dtype="<i2").tobytes()
DIGEST = sha256(b"an upload").hexdigest()
HEADER_BYTES = 80
BLOCKS = [PCM[:32_000], PCM[32_000:64_000], PCM[64_000:]]


def store(blocks: Iterable[bytes], path: Path, *, max_bytes: int = len(PCM)) -> bool:
    return store_samples(blocks, path, upload_sha256=DIGEST, max_bytes=max_bytes)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Return a file of stored samples."""
    path = tmp_path / "a.pcm"
    assert store(BLOCKS, path)
    return path


def read_blocks(path: Path, start_sample: int = 0) -> list[bytes]:
    """Return the blocks that an engine gets, as s16le again."""
    descriptor = open_samples(path, upload_sha256=DIGEST, start_sample=start_sample)
    assert descriptor is not None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        return [(block * 32_768).astype("<i2").tobytes() for block in read_stored_pcm(file)]


def test_samples_come_back_in_the_blocks_of_a_decoder(stored: Path) -> None:
    assert read_blocks(stored) == BLOCKS
    assert stored.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("start_sample", [1, 16_000, 39_999, COUNT])
def test_a_later_start_gives_exactly_the_tail_of_stored_samples(stored: Path, start_sample: int) -> None:
    assert b"".join(read_blocks(stored, start_sample)) == PCM[2 * start_sample :]


@pytest.mark.parametrize("size", [0, 5, HEADER_BYTES, 40_000, 2 * COUNT + HEADER_BYTES - 1])
def test_a_file_that_was_cut_is_not_used(stored: Path, size: int) -> None:
    os.truncate(stored, size)
    assert open_samples(stored, upload_sha256=DIGEST) is None


@pytest.mark.parametrize("place", [0, 4, 67, 68, 76, HEADER_BYTES, 50_000])
def test_a_file_with_one_wrong_byte_is_not_used(stored: Path, place: int) -> None:
    content = bytearray(stored.read_bytes())
    content[place] ^= 1
    stored.write_bytes(content)
    assert open_samples(stored, upload_sha256=DIGEST) is None


def test_a_file_that_was_never_finished_is_not_used(stored: Path) -> None:
    stored.write_bytes(bytes(HEADER_BYTES) + stored.read_bytes()[HEADER_BYTES:])
    assert open_samples(stored, upload_sha256=DIGEST) is None


def test_samples_of_another_upload_are_not_used(stored: Path) -> None:
    assert open_samples(stored, upload_sha256=sha256(b"another").hexdigest()) is None


@pytest.mark.parametrize("blocks", [[], [BLOCKS[0], b"x"]], ids=["nothing", "half a sample"])
def test_a_file_without_whole_samples_is_not_used(tmp_path: Path, blocks: list[bytes]) -> None:
    store(blocks, tmp_path / "a.pcm")
    assert open_samples(tmp_path / "a.pcm", upload_sha256=DIGEST) is None


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("create", [os.mkfifo, Path.mkdir, link_to_itself, link_to_a_device])
def test_anything_but_a_regular_file_is_not_used(tmp_path: Path, create: Callable[[Path], None]) -> None:
    create(tmp_path / "a.pcm")
    assert open_samples(tmp_path / "a.pcm", upload_sha256=DIGEST) is None


def test_a_named_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.pcm")
    writing = os.open(tmp_path / "a.pcm", os.O_RDWR)
    assert open_samples(tmp_path / "a.pcm", upload_sha256=DIGEST) is None
    os.close(writing)


def test_more_than_4_gib_of_samples_can_be_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_samples, "_write", lambda *_: (1 << 32, 0))
    assert store([], tmp_path / "a.pcm")


def test_missing_samples_are_not_an_error(tmp_path: Path) -> None:
    assert open_samples(tmp_path / "never.pcm", upload_sha256=DIGEST) is None


def fail_after_a_block(error: Exception) -> Iterator[bytes]:
    yield BLOCKS[0]
    raise error


@pytest.mark.parametrize(
    "error",
    [
        DecodingFailed(Failure(FailureCode.AUDIO_UNDECODABLE, "damaged")),
        TimeoutError("slow"),
        OSError("full"),
    ],
    ids=["decoding fails", "the decoder is slow", "the disk is full"],
)
def test_samples_that_end_early_leave_no_file(tmp_path: Path, error: Exception) -> None:
    assert not store(fail_after_a_block(error), tmp_path / "a.pcm")
    assert list(tmp_path.iterdir()) == []


def test_more_samples_than_allowed_leave_no_file(tmp_path: Path) -> None:
    assert not store(BLOCKS, tmp_path / "a.pcm", max_bytes=len(PCM) - 1)
    assert list(tmp_path.iterdir()) == []
