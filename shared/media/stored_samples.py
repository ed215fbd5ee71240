"""The decoded samples of a short upload, stored beside it so that it is decoded only once.

After a header come the samples: signed 16-bit little-endian mono at 16 kHz, as on a decoder's pipe. The
header has the digest of the upload, the number of bytes that follow, and their CRC. It is written last, and
the file is not synced. After a crash or a power failure the two may differ. The upload is decoded again
then, and also if the samples are those of another upload.
"""

import os
import stat
import struct
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import structlog

from shared.media.pcm_frames import SAMPLE_BYTES, DecodingFailed

_HEADER = struct.Struct("<4s64sQI")
_MAGIC = b"PCM2"
# A link is not followed, and the open of a named pipe does not wait for a writer.
_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_READ_BYTES = 1 << 18

_logger = structlog.get_logger(__name__)


def store_samples(blocks: Iterable[bytes], path: Path, *, upload_sha256: str, max_bytes: int) -> bool:
    """Write the samples of an upload to the new file `path`. Return false, without a file, if that fails.

    It fails if decoding fails, at more than `max_bytes`, and without disk space. None of these is an error
    here: a job without stored samples decodes its upload.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            size, crc = _write(descriptor, blocks, max_bytes)
            os.pwrite(descriptor, _HEADER.pack(_MAGIC, upload_sha256.encode(), size, crc), 0)
        finally:
            os.close(descriptor)
    except (DecodingFailed, OSError) as error:
        _logger.info("samples_not_stored", reason=str(error))
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return False
    return True


def open_samples(path: Path, *, upload_sha256: str, start_sample: int = 0) -> int | None:
    """Return a descriptor of the stored samples of an upload, placed at `start_sample`.

    Return None if there are none, or if they are damaged, unreadable or of another upload.
    """
    descriptor = -1
    try:
        descriptor = os.open(path, _READING)
        if _is_intact(descriptor, upload_sha256):
            os.lseek(descriptor, _HEADER.size + start_sample * SAMPLE_BYTES, os.SEEK_SET)
            return descriptor
    except FileNotFoundError:
        pass
    except OSError as error:
        _logger.warning("samples_unreadable", reason=str(error))
    if descriptor >= 0:
        os.close(descriptor)
    return None


def _write(descriptor: int, blocks: Iterable[bytes], max_bytes: int) -> tuple[int, int]:
    """Write `blocks` after the room for the header. Return their size in bytes and their CRC."""
    size, crc = 0, 0
    os.lseek(descriptor, _HEADER.size, os.SEEK_SET)
    for block in blocks:
        size, crc = size + len(block), zlib.crc32(block, crc)
        if size > max_bytes:
            raise OSError("the decoder sent more than it declared")
        unwritten = memoryview(block)
        while unwritten:
            unwritten = unwritten[os.write(descriptor, unwritten) :]
    return size, crc


def _is_intact(descriptor: int, upload_sha256: str) -> bool:
    found = os.fstat(descriptor)
    size, crc = found.st_size - _HEADER.size, 0
    if not stat.S_ISREG(found.st_mode) or size <= 0 or size % SAMPLE_BYTES:
        return False
    header = os.read(descriptor, _HEADER.size)
    while block := os.read(descriptor, _READ_BYTES):
        crc = zlib.crc32(block, crc)
    return header == _HEADER.pack(_MAGIC, upload_sha256.encode(), size, crc)
