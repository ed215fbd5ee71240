"""Stored samples are read back as they were written, and not used if anything about them is wrong."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shared.jobs import Failure, FailureCode
from shared.media.pcm_frames import DecodingFailed
from shared.media.samples import read_stored_pcm
from shared.media.stored_samples import open_samples, store_samples

COUNT = 40_000
PCM = np.arange(-20_000, 20_000, dtype="<i2").tobytes()
BLOCKS = [PCM[:32_000], PCM[32_000:64_000], PCM[64_000:]]


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Return a file of stored samples."""
    path = tmp_path / "a.pcm"
    assert store_samples(BLOCKS, path, max_bytes=len(PCM))
    return path


def read_blocks(path: Path, start_sample: int = 0) -> list[bytes]:
    """Return the blocks that an engine gets, as s16le again."""
    descriptor = open_samples(path, start_sample=start_sample)
    assert descriptor is not None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        return [(block * 32_768).astype("<i2").tobytes() for block in read_stored_pcm(file)]


def test_samples_come_back_in_the_blocks_of_a_decoder(stored: Path) -> None:
    assert read_blocks(stored) == BLOCKS
    assert stored.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("start_sample", [1, 16_000, 39_999, COUNT])
def test_a_later_start_gives_exactly_the_tail_of_stored_samples(stored: Path, start_sample: int) -> None:
    assert b"".join(read_blocks(stored, start_sample)) == PCM[2 * start_sample :]


@pytest.mark.parametrize("size", [0, 5, 12, 40_000, 2 * COUNT + 11])
def test_a_file_that_was_cut_is_not_used(stored: Path, size: int) -> None:
    os.truncate(stored, size)
    assert open_samples(stored) is None


@pytest.mark.parametrize("place", [0, 4, 8, 12, 50_000])
def test_a_file_with_one_wrong_byte_is_not_used(stored: Path, place: int) -> None:
    content = bytearray(stored.read_bytes())
    content[place] ^= 1
    stored.write_bytes(content)
    assert open_samples(stored) is None


def test_a_file_that_was_never_finished_is_not_used(stored: Path) -> None:
    stored.write_bytes(bytes(12) + stored.read_bytes()[12:])
    assert open_samples(stored) is None


def test_missing_samples_are_not_an_error(tmp_path: Path) -> None:
    assert open_samples(tmp_path / "never.pcm") is None


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
    assert not store_samples(fail_after_a_block(error), tmp_path / "a.pcm", max_bytes=len(PCM))
    assert list(tmp_path.iterdir()) == []


def test_more_samples_than_allowed_leave_no_file(tmp_path: Path) -> None:
    assert not store_samples(BLOCKS, tmp_path / "a.pcm", max_bytes=len(PCM) - 1)
    assert list(tmp_path.iterdir()) == []
