"""Samples as the engines take them, from the pipe of a decoder or from stored samples."""

import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from shared.audio_format import SeekPoint
from shared.media.pcm_frames import BLOCK_BYTES, ByteSource, read_frames

Samples = npt.NDArray[np.float32]


def read_pcm(pipe: ByteSource | int) -> Iterator[Samples | SeekPoint]:
    """Yield blocks of mono samples at 16 kHz, float32 in -1..1, shape (n,) with n > 0, until the clean end.

    Seek points come between the blocks. `pipe` is a source of bytes or a file descriptor; it stays open.

    Raises:
        DecodingFailed: the decoder reported an error or died, or the bytes do not have the format.
    """
    source = os.fdopen(pipe, "rb", closefd=False) if isinstance(pipe, int) else pipe
    for found in read_frames(source):
        yield found if isinstance(found, SeekPoint) else _to_float(found)


def read_stored_pcm(file: ByteSource) -> Iterator[Samples]:
    """Yield the samples from a position in stored samples to their end, in the blocks of a decoder."""
    while block := file.read(BLOCK_BYTES):
        yield _to_float(block)


def _to_float(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / np.float32(1 << 15)
