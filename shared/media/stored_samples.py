"""The decoded samples of a short upload, stored beside it so that it is decoded only once.

After a header come the samples: signed 16-bit little-endian mono at 16 kHz, as on a decoder's pipe. The
header has the number of bytes that follow, and their CRC. It is written last, and the file is not synced.
After a crash or a power failure the two may differ, and the upload is decoded again.
"""

import os
import struct
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import structlog

from shared.media.pcm_frames import SAMPLE_BYTES, DecodingFailed

_HEADER = struct.Struct("<4sII")
_MAGIC = b"PCM1"
_READ_BYTES = 1 << 18

_logger = structlog.get_logger(__name__)


def store_samples(blocks: Iterable[bytes], path: Path, *, max_bytes: int) -> bool:
    """Write `blocks` to the new file `path`. Return false, without a file, if that fails.

    It fails if decoding fails, at more than `max_bytes`, and without disk space. None of these is an error
    here: a job without stored samples decodes its upload.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write(descriptor, blocks, max_bytes)
        finally:
            os.close(descriptor)
    except (DecodingFailed, OSError) as error:
        _logger.info("samples_not_stored", reason=str(error))
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return False
    return True


def open_samples(path: Path, *, start_sample: int = 0) -> int | None:
    """Return a descriptor of stored samples, placed at `start_sample`; None if there are none, or damaged."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if _is_intact(descriptor):
            os.lseek(descriptor, _HEADER.size + start_sample * SAMPLE_BYTES, os.SEEK_SET)
            return descriptor
    except OSError as error:
        _logger.warning("samples_unreadable", reason=str(error))
    os.close(descriptor)
    return None


def _write(descriptor: int, blocks: Iterable[bytes], max_bytes: int) -> None:
    size, crc = 0, 0
    os.lseek(descriptor, _HEADER.size, os.SEEK_SET)
    for block in blocks:
        size, crc = size + len(block), zlib.crc32(block, crc)
        if size > max_bytes:
            raise OSError("the decoder sent more than it declared")
        unwritten = memoryview(block)
        while unwritten:
            unwritten = unwritten[os.write(descriptor, unwritten) :]
    os.pwrite(descriptor, _HEADER.pack(_MAGIC, size, crc), 0)


def _is_intact(descriptor: int) -> bool:
    header = os.read(descriptor, _HEADER.size)
    if len(header) < _HEADER.size:
        return False
    size, crc = 0, 0
    while block := os.read(descriptor, _READ_BYTES):
        size, crc = size + len(block), zlib.crc32(block, crc)
    return header == _HEADER.pack(_MAGIC, size, crc)
