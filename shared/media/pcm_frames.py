"""The format of decoded audio on a pipe: length-prefixed blocks of samples, then a clean end or an error.

A block is its length in bytes (4 bytes, little-endian) and that many bytes of signed 16-bit little-endian
mono samples at 16 kHz. Length 0 is the clean end. Length 0xFFFFFFFF is followed by the length of a JSON
object and the object itself: {"code": ..., "message": ...}. If the pipe ends otherwise, the decoder died:
the end of a plain pipe would look the same in both cases.
"""

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import Failure, FailureCode

SAMPLE_BYTES = 2

_LENGTH = struct.Struct("<I")
_CLEAN_END = 0
_FAILED = 0xFFFFFFFF
_BLOCK_BYTES = SAMPLE_RATE_HZ * SAMPLE_BYTES
# The writer never sends more at once. The reader trusts no length, since the writer parses untrusted media.
_MAX_PART_BYTES = 1 << 20

_GAVE_UP = Failure(
    FailureCode.AUDIO_UNDECODABLE,
    "The decoder gave up in the middle of this file: it crashed, or needed more than DECODER_MEMORY_BYTES "
    "or DECODER_CPU_S allow. Convert the file to wav, flac or mp3.",
)

Samples = npt.NDArray[np.float32]


class DecodingFailed(Exception):
    """Raised by `read_pcm` if the upload could not be decoded to its end; has a code and a message."""

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
        while len(self._pending) >= _BLOCK_BYTES:
            self._send_block(self._pending[:_BLOCK_BYTES])
            del self._pending[:_BLOCK_BYTES]

    def end(self) -> None:
        """Send the remaining samples and the clean end."""
        self._send_pending()
        self._pipe.write(_LENGTH.pack(_CLEAN_END))
        self._pipe.flush()

    def fail(self, failure: Failure) -> None:
        """Send the remaining samples and the error that ended decoding."""
        self._send_pending()
        encoded = msgspec.json.encode(failure)
        self._pipe.write(_LENGTH.pack(_FAILED) + _LENGTH.pack(len(encoded)) + encoded)
        self._pipe.flush()

    def _send_pending(self) -> None:
        if self._pending:
            self._send_block(self._pending)
            self._pending = bytearray()

    def _send_block(self, block: bytes | bytearray) -> None:
        self._pipe.write(_LENGTH.pack(len(block)) + block)
        self._pipe.flush()


def read_pcm(pipe: ByteSource | int) -> Iterator[Samples]:
    """Yield blocks of mono samples at 16 kHz, float32 in -1..1, shape (n,) with n > 0, until the clean end.

    `pipe` is a source of bytes or a file descriptor; it stays open.

    Raises:
        DecodingFailed: the decoder reported an error or died, or the bytes do not have this format.
    """
    stream = os.fdopen(pipe, "rb", closefd=False) if isinstance(pipe, int) else pipe
    while (length := _read_length(stream)) != _CLEAN_END:
        if length == _FAILED:
            raise DecodingFailed(_read_failure(stream))
        if length % SAMPLE_BYTES:
            raise DecodingFailed(_GAVE_UP)
        pcm = np.frombuffer(_read_exactly(stream, length), dtype="<i2")
        yield pcm.astype(np.float32) / np.float32(1 << 15)


def _read_length(stream: ByteSource) -> int:
    (length,) = _LENGTH.unpack(_read_exactly(stream, _LENGTH.size))
    return int(length)


def _read_failure(stream: ByteSource) -> Failure:
    encoded = _read_exactly(stream, _read_length(stream))
    try:
        return msgspec.json.decode(encoded, type=Failure)
    except msgspec.DecodeError:
        return _GAVE_UP


def _read_exactly(stream: ByteSource, size: int) -> bytes:
    """Return the next `size` bytes, which a pipe may deliver in pieces."""
    if size > _MAX_PART_BYTES:
        raise DecodingFailed(_GAVE_UP)
    received = b""
    while len(received) < size:
        piece = stream.read(size - len(received))
        if not piece:
            raise DecodingFailed(_GAVE_UP)
        received += piece
    return received
