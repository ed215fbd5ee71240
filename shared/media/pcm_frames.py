"""The format of decoded audio on a pipe: length-prefixed blocks of samples, then a clean end or an error.

A block is its length in bytes (4 bytes, little-endian) and that many bytes of signed 16-bit little-endian
mono samples at 16 kHz. Length 0 is the clean end. Length 0xFFFFFFFF is followed by the length of a JSON
object and the object itself: {"code": ..., "message": ...}. Length 0xFFFFFFFE is followed in the same way by
a seek point, whose sample is in a later block. If the pipe ends otherwise, the decoder died: the end of a
plain pipe would look the same in both cases. A probe sends its answer before the samples: a length and JSON.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, Protocol

import msgspec

from shared.audio_format import SAMPLE_RATE_HZ, SeekPoint
from shared.jobs import Failure, FailureCode

SAMPLE_BYTES = 2
BLOCK_BYTES = SAMPLE_RATE_HZ * SAMPLE_BYTES

_LENGTH = struct.Struct("<I")
_CLEAN_END = 0
_FAILED = 0xFFFFFFFF
_SEEK_POINT = 0xFFFFFFFE
# The writer never sends more at once. The reader trusts no length, since the writer parses untrusted media.
_MAX_PART_BYTES = 1 << 20

_GAVE_UP = Failure(
    FailureCode.AUDIO_UNDECODABLE,
    "The decoder gave up in the middle of this file: it crashed, or needed more than DECODER_MEMORY_BYTES "
    "or DECODER_CPU_S allow. Convert the file to wav, flac or mp3.",
)


class DecodingFailed(Exception):
    """Raised by `read_frames` if the upload could not be decoded to its end; has a code and a message."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.code = failure.code
        self.message = failure.message


class ByteSource(Protocol):
    """A source of bytes, such as a binary file."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end."""


class PcmWriter:
    """The decoder's end of the pipe. Collects samples into blocks of one second. Not thread-safe."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._pending = bytearray()

    def write(self, pcm: bytes) -> None:
        """Send `pcm`: any number of signed 16-bit little-endian mono samples at 16 kHz.

        Raises:
            BrokenPipeError: the reader has closed the pipe.
        """
        self._pending += pcm
        while len(self._pending) >= BLOCK_BYTES:
            write_message(self._pipe, bytes(self._pending[:BLOCK_BYTES]))
            del self._pending[:BLOCK_BYTES]

    def write_seek_point(self, point: SeekPoint) -> None:
        """Send `point`, before the samples to which it leads."""
        self._pipe.write(_LENGTH.pack(_SEEK_POINT))
        write_message(self._pipe, msgspec.json.encode(point))

    def end(self) -> None:
        """Send the remaining samples and the clean end."""
        self._send_pending()
        self._pipe.write(_LENGTH.pack(_CLEAN_END))
        self._pipe.flush()

    def fail(self, failure: Failure) -> None:
        """Send the remaining samples and the error that ended decoding."""
        self._send_pending()
        self._pipe.write(_LENGTH.pack(_FAILED))
        write_message(self._pipe, msgspec.json.encode(failure))

    def _send_pending(self) -> None:
        if self._pending:
            write_message(self._pipe, bytes(self._pending))
            self._pending = bytearray()


def read_frames(source: ByteSource) -> Iterator[bytes | SeekPoint]:
    """Yield blocks of samples and seek points, as written, until the clean end. `source` stays open.

    Raises:
        DecodingFailed: the decoder reported an error or died, or the bytes do not have this format.
    """
    while (length := _read_length(source)) != _CLEAN_END:
        if length == _FAILED:
            raise DecodingFailed(_read_failure(source))
        if length == _SEEK_POINT:
            yield _read_seek_point(source)
            continue
        if length % SAMPLE_BYTES:
            raise DecodingFailed(_GAVE_UP)
        yield _read_exactly(source, length)


def write_message(pipe: BinaryIO, encoded: bytes) -> None:
    """Send a message with its length."""
    pipe.write(_LENGTH.pack(len(encoded)) + encoded)
    pipe.flush()


def read_message(source: ByteSource) -> bytes:
    """Return a message that `write_message` sent.

    Raises:
        DecodingFailed: the decoder died, or the bytes do not have this format.
    """
    return _read_exactly(source, _read_length(source))


def _read_length(source: ByteSource) -> int:
    (length,) = _LENGTH.unpack(_read_exactly(source, _LENGTH.size))
    return int(length)


def _read_seek_point(source: ByteSource) -> SeekPoint:
    try:
        return msgspec.json.decode(read_message(source), type=SeekPoint)
    except msgspec.DecodeError as error:
        raise DecodingFailed(_GAVE_UP) from error


def _read_failure(source: ByteSource) -> Failure:
    try:
        return msgspec.json.decode(read_message(source), type=Failure)
    except msgspec.DecodeError:
        return _GAVE_UP


def _read_exactly(source: ByteSource, size: int) -> bytes:
    """Return the next `size` bytes, which a pipe may deliver in pieces."""
    if size > _MAX_PART_BYTES:
        raise DecodingFailed(_GAVE_UP)
    received = b""
    while len(received) < size:
        piece = source.read(size - len(received))
        if not piece:
            raise DecodingFailed(_GAVE_UP)
        received += piece
    return received
