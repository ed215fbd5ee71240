"""The pipe of decoded audio returns the written samples, and raises an error for all else."""

import io
import os
import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audio_format import SeekPoint
from shared.jobs import Failure, FailureCode
from shared.media.pcm_frames import DecodingFailed, PcmWriter
from shared.media.samples import read_pcm
from tests.support.media_files import only_samples

PCM = np.arange(-20_000, 20_000, dtype="<i2").tobytes()


def write_wire(*pieces: bytes) -> bytes:
    """Return the bytes of a decoder that gets its samples in `pieces`."""
    wire = io.BytesIO()
    writer = PcmWriter(wire)
    for piece in pieces:
        writer.write(piece)
    writer.end()
    return wire.getvalue()


def read_wire(wire: bytes) -> bytes:
    """Return the samples in `wire`, as s16le again."""
    blocks = list(only_samples(read_pcm(io.BytesIO(wire))))
    return b"".join((block * 32_768).astype("<i2").tobytes() for block in blocks)


@given(st.lists(st.integers(0, 40_000), max_size=6))
def test_samples_written_in_any_pieces_are_read_back(cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), 40_000]
    pieces = [PCM[2 * begin : 2 * end] for begin, end in pairwise(bounds)]
    assert read_wire(write_wire(*pieces)) == PCM


def test_blocks_are_float32_within_one() -> None:
    extremes = np.array([-32_768, 0, 32_767], dtype="<i2")
    (block,) = only_samples(read_pcm(io.BytesIO(write_wire(extremes.tobytes()))))
    assert block.dtype == np.float32
    assert block.tolist() == [-1.0, 0.0, 32_767 / 32_768]


def test_no_samples_is_a_clean_end() -> None:
    assert list(read_pcm(io.BytesIO(write_wire()))) == []


@given(st.integers(0, len(write_wire(PCM)) - 1))
def test_a_pipe_that_ends_early_is_a_decoder_that_died(length: int) -> None:
    with pytest.raises(DecodingFailed, match="gave up") as caught:
        list(read_pcm(io.BytesIO(write_wire(PCM)[:length])))
    assert caught.value.code is FailureCode.AUDIO_UNDECODABLE


def test_an_error_comes_after_the_samples_before_it() -> None:
    wire = io.BytesIO()
    writer = PcmWriter(wire)
    writer.write(PCM)
    writer.fail(Failure(FailureCode.AUDIO_TOO_LONG, "too long"))
    blocks = only_samples(read_pcm(io.BytesIO(wire.getvalue())))
    assert sum(len(next(blocks)) for _ in range(3)) == 40_000
    with pytest.raises(DecodingFailed, match="too long") as caught:
        next(blocks)
    assert caught.value.code is FailureCode.AUDIO_TOO_LONG
    assert caught.value.message == "too long"


@pytest.mark.parametrize(
    "wire",
    [
        struct.pack("<I", 3) + b"abc",
        struct.pack("<I", 0xFFFF_FFFE),
        struct.pack("<II", 0xFFFF_FFFF, 2) + b"{}",
        struct.pack("<II", 0xFFFF_FFFF, 0xFFFF_FFFF),
        struct.pack("<II", 0xFFFF_FFFF, 4) + b"\xff\xfe\x00\x01",
    ],
    ids=["half a sample", "a block of gigabytes", "an error without code", "a huge error", "no JSON"],
)
def test_other_bytes_than_frames_are_refused(wire: bytes) -> None:
    with pytest.raises(DecodingFailed, match="gave up"):
        list(read_pcm(io.BytesIO(wire)))


def test_a_descriptor_is_read_and_left_open() -> None:
    reading, writing = os.pipe()
    os.write(writing, write_wire(PCM[:1000]))
    assert sum(len(block) for block in only_samples(read_pcm(reading))) == 500
    os.close(writing)
    os.close(reading)


def test_an_unbuffered_pipe_gives_the_same_blocks() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        os.write(writing, write_wire(PCM[:30_000]))
        os.close(writing)
        assert sum(len(block) for block in only_samples(read_pcm(pipe))) == 15_000


def test_seek_points_come_before_the_samples_to_which_they_lead() -> None:
    point = SeekPoint(20_000, 1, None, 2, 3, 4, 5)
    wire = io.BytesIO()
    writer = PcmWriter(wire)
    writer.write(PCM[:50_000])
    writer.write_seek_point(point)
    writer.write(PCM[50_000:])
    writer.end()
    first, *rest = read_pcm(io.BytesIO(wire.getvalue()))
    assert isinstance(first, np.ndarray)
    assert len(first) == 16_000
    assert rest[0] == point
    assert sum(map(len, only_samples(rest))) == 24_000


def test_a_damaged_seek_point_is_a_decoder_that_died() -> None:
    with pytest.raises(DecodingFailed, match="gave up"):
        list(read_pcm(io.BytesIO(struct.pack("<II", 0xFFFFFFFE, 2) + b"[]")))
