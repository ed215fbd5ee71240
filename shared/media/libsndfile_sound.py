"""Sound read by libsndfile, which reports the exact length of files that it can open."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import soundfile
from av.audio.frame import AudioFrame

from shared.errors import UnreadableAudio

# Formats without a reliable signature are left out, since garbage would pass for sound.
_FORMATS = frozenset({"AIFF", "AU", "CAF", "FLAC", "MP3", "OGG", "RF64", "W64", "WAV", "WAVEX"})
_BLOCK_FRAMES = 8_192


@contextmanager
def open_soundfile(upload: BinaryIO) -> Iterator[soundfile.SoundFile]:
    """Open the sound in `upload` for the `with` block.

    Raises:
        UnreadableAudio: libsndfile cannot open the upload, or fails within the block.
    """
    upload.seek(0)
    try:
        with soundfile.SoundFile(upload.fileno(), closefd=False) as sound:
            if sound.format not in _FORMATS:
                raise UnreadableAudio(f"Files of the format {sound.format} are not supported.")
            yield sound
    except soundfile.SoundFileError as error:
        raise UnreadableAudio("This file cannot be read as sound.") from error


def read_blocks(upload: BinaryIO) -> Iterator[list[AudioFrame]]:
    """Yield all the sound in `upload`, mixed down to one channel, a frame at a time.

    Raises:
        UnreadableAudio: libsndfile cannot open the upload.
    """
    with open_soundfile(upload) as sound:
        for block in sound.blocks(_BLOCK_FRAMES, dtype="float32", always_2d=True):
            mono = block.mean(axis=1, keepdims=True).T
            frame = AudioFrame.from_ndarray(mono, format="flt", layout="mono")
            frame.sample_rate = sound.samplerate
            yield [frame]
