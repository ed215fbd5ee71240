"""Sound read by libsndfile, which knows the exact length of what it can open."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import soundfile
from av.audio.frame import AudioFrame

from shared.errors import UnreadableAudio

# Without the formats that have no reliable mark, under which garbage passes for sound.
_FORMATS = frozenset({"AIFF", "AU", "CAF", "FLAC", "MP3", "OGG", "RF64", "W64", "WAV", "WAVEX"})
_BLOCK_FRAMES = 8_192


@contextmanager
def open_soundfile(upload: BinaryIO) -> Iterator[soundfile.SoundFile]:
    """The sound in `upload`.

    Raises:
        UnreadableAudio: libsndfile cannot open it, or fails while the block runs.
    """
    upload.seek(0)
    try:
        with soundfile.SoundFile(upload.fileno(), closefd=False) as sound:
            if sound.format not in _FORMATS:
                raise UnreadableAudio(f"Files of the kind {sound.format} are not supported.")
            yield sound
    except soundfile.SoundFileError as error:
        raise UnreadableAudio("This file cannot be read as sound.") from error


def read_frames(upload: BinaryIO) -> Iterator[AudioFrame]:
    """All the sound in `upload`, its channels mixed down to one.

    Raises:
        UnreadableAudio: libsndfile cannot open it.
    """
    with open_soundfile(upload) as sound:
        for block in sound.blocks(_BLOCK_FRAMES, dtype="float32", always_2d=True):
            mono = block.mean(axis=1, keepdims=True).T
            frame = AudioFrame.from_ndarray(mono, format="flt", layout="mono")
            frame.sample_rate = sound.samplerate
            yield frame
