"""Files that were joined byte by byte: found where a container ends and another one begins.

FFmpeg reads on in joined mp3, aac, flac and ogg, and in webm without lengths. Of wav and mp4 it reads the
first one alone, of webm with lengths the first two.
"""

import io
from collections.abc import Iterator
from typing import BinaryIO, cast

_HEAD_BYTES = 16
_BOX_BYTES = 8
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
# A file of more parts or boxes is not an honest one.
_MAX_PARTS = 1_000
_MAX_BOXES = 100_000


class _Part(io.RawIOBase):
    """The bytes of a file from `begin` to `end`, as a file of its own."""

    def __init__(self, file: BinaryIO, begin: int, end: int) -> None:
        self._file = file
        self._begin = begin
        self._size = end - begin
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        left = max(0, self._size - self._place)
        self._file.seek(self._begin + self._place)
        piece = self._file.read(left if size < 0 else min(size, left))
        self._place += len(piece)
        return piece

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        return self._place


def split_joined(upload: BinaryIO) -> list[BinaryIO]:
    """Return the files that were joined to `upload`, in order; `upload` itself if it is a single one."""
    end = upload.seek(0, io.SEEK_END)
    head = _read_head(upload, 0)
    begins = [0]
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        begins += _find_waves(upload)
    elif head[4:8] == b"ftyp":
        begins += _find_movies(upload, end)
    elif head[:4] == _EBML:
        begins += _find_webms(upload)
    if len(begins) == 1:
        return [upload]
    bounds = zip(begins, [*begins[1:], end], strict=True)
    return [cast("BinaryIO", _Part(upload, begin, until)) for begin, until in bounds]


def _find_waves(upload: BinaryIO) -> Iterator[int]:
    """Yield the first byte of each further WAV file. Its chunk of even length follows the one before."""
    begin = 0
    for _ in range(_MAX_PARTS):
        size = int.from_bytes(_read_head(upload, begin)[4:8], "little")
        begin += 8 + size + size % 2
        head = _read_head(upload, begin)
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            return
        yield begin


def _find_movies(upload: BinaryIO, end: int) -> Iterator[int]:
    """Yield the first byte of each further MP4 file: its type comes after the index of the one before."""
    at, parts, has_index = 0, 0, False
    for _ in range(_MAX_BOXES):
        head = _read_head(upload, at)
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if kind == b"ftyp" and has_index and parts < _MAX_PARTS:
            parts, has_index = parts + 1, False
            yield at
        has_index = has_index or kind == b"moov"
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        at += size
        if size < _BOX_BYTES or at >= end:
            return


def _find_webms(upload: BinaryIO) -> Iterator[int]:
    """Yield the first byte of each further WebM file, which follows a segment of known length."""
    at = 0
    for _ in range(_MAX_PARTS):
        for mark in (_EBML, _SEGMENT):
            head = _read_head(upload, at)
            # The first bit that is set in a length tells how many bytes the length has.
            width = _BOX_BYTES + 1 - head[4].bit_length() if len(head) == _HEAD_BYTES else 0
            size = int.from_bytes(head[4 : 4 + width], "big") - (1 << 7 * width)
            if head[:4] != mark or not 0 < width <= _BOX_BYTES or size == (1 << 7 * width) - 1:
                return
            at += 4 + width + size
        if _read_head(upload, at)[:4] != _EBML:
            return
        yield at


def _read_head(upload: BinaryIO, at: int) -> bytes:
    upload.seek(at)
    return upload.read(_HEAD_BYTES)
