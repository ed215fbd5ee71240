"""Files that were joined byte by byte: found where a container ends and another one begins.

FFmpeg reads on in joined mp3, aac, flac and ogg, and in webm without lengths. Of wav, aiff and mp4 it reads
the first one alone, of webm with lengths the first two.
"""

import io
from collections.abc import Callable, Mapping
from typing import BinaryIO, NamedTuple, cast

_HEAD_BYTES = 16
_BOX_BYTES = 8
_MP4 = b"ftyp"
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


class Joined(NamedTuple):
    """The files of one kind that were joined, in order.

    Other media follow them if it `has_more`; these are not read.
    """

    files: list[BinaryIO]
    has_more: bool = False


def split_joined(upload: BinaryIO) -> Joined:
    """Return the files that were joined to `upload`; `upload` itself if it is a single one."""
    size = upload.seek(0, io.SEEK_END)
    kind = _read_kind(upload, 0)
    begins, end = [0], 0
    while kind in _FIND_END and len(begins) <= _MAX_PARTS:
        end = _FIND_END[kind](upload, begins[-1])
        if end <= begins[-1] or _read_kind(upload, end) != kind:
            break
        begins.append(end)
    has_more = begins[-1] < end and _read_kind(upload, end) in _MARKS
    if len(begins) == 1:
        return Joined([upload], has_more)
    bounds = zip(begins, [*begins[1:], size], strict=True)
    return Joined([cast("BinaryIO", _Part(upload, begin, until)) for begin, until in bounds], has_more)


def _read_kind(upload: BinaryIO, at: int) -> bytes:
    """Return the mark of the container that begins at byte `at`."""
    head = _read_head(upload, at)
    return head[4:8] if head[4:8] == _MP4 else head[:4]


def _find_riff_end(upload: BinaryIO, begin: int) -> int:
    return begin + _even(_BOX_BYTES + int.from_bytes(_read_head(upload, begin)[4:8], "little"))


def _find_form_end(upload: BinaryIO, begin: int) -> int:
    return begin + _even(_BOX_BYTES + int.from_bytes(_read_head(upload, begin)[4:8], "big"))


def _even(size: int) -> int:
    return size + size % 2


def _find_mp4_end(upload: BinaryIO, begin: int) -> int:
    """Return the end of the boxes up to the next file type after an index, or to bytes that are not a box."""
    at, has_index = begin, False
    for _ in range(_MAX_BOXES):
        head = _read_head(upload, at)
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        if size < _BOX_BYTES or not kind.isalnum() or (kind == _MP4 and has_index):
            break
        has_index = has_index or kind == b"moov"
        at += size
    return at if has_index else begin


def _find_webm_end(upload: BinaryIO, begin: int) -> int:
    """Return the end of a segment of known length, else `begin`."""
    at = begin
    for mark in (_EBML, _SEGMENT):
        head = _read_head(upload, at)
        # The first bit that is set in a length tells how many bytes the length has.
        width = _BOX_BYTES + 1 - head[4].bit_length() if len(head) == _HEAD_BYTES else 0
        size = int.from_bytes(head[4 : 4 + width], "big") - (1 << 7 * width)
        if head[:4] != mark or not 0 < width <= _BOX_BYTES or size == (1 << 7 * width) - 1:
            return begin
        at += 4 + width + size
    return at


def _read_head(upload: BinaryIO, at: int) -> bytes:
    upload.seek(at)
    return upload.read(_HEAD_BYTES)


_FIND_END: Mapping[bytes, Callable[[BinaryIO, int], int]] = {
    b"RIFF": _find_riff_end,
    b"FORM": _find_form_end,
    _MP4: _find_mp4_end,
    _EBML: _find_webm_end,
}
_MARKS = frozenset({*_FIND_END, b"OggS", b"fLaC", b"caff"})
