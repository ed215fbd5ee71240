"""An upload decoded to 16 kHz mono samples, frame by frame, in memory that does not grow with its length."""

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import BinaryIO

from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from shared.audio_format import SAMPLE_RATE_HZ
from shared.errors import AudioTooLong, UnreadableAudio
from shared.media import ffmpeg_sound, libsndfile_sound
from shared.media.ffmpeg_sound import NO_SOUND, skip_damage
from shared.media.pcm_frames import SAMPLE_BYTES

# Decoders add up to some thousand samples of padding to the length that the file tells.
_PADDING_S = 1.0
# Of what players play, files of 4 s joined to one were measured furthest above their count: FLAC by 4 %.
_TOLD_FACTOR = 1.1


class MoreThanTold(Exception):
    """Raised by `decode_audio`: the upload holds clearly more sound than it told when it was examined."""

    def __init__(self, declared_duration_s: float) -> None:
        super().__init__(
            f"The file holds more sound than the {declared_duration_s:g} s that its header and packets "
            "declare. Convert it to wav, flac or mp3 and send it again."
        )


def decode_audio(
    upload: BinaryIO, *, max_audio_s: float, declared_duration_s: float | None = None, start_sample: int = 0
) -> Iterator[bytes]:
    """The sound of `upload` from `start_sample` on: signed 16-bit little-endian mono samples at 16 kHz.

    `declared_duration_s` is how long it was found to be when it was examined, if it was.

    Raises:
        UnreadableAudio: nothing in it can be decoded.
        AudioTooLong: it holds more than `max_audio_s` of sound, whatever its header says.
        MoreThanTold: it holds clearly more than `declared_duration_s`.
    """
    max_samples = int((max_audio_s + _PADDING_S) * SAMPLE_RATE_HZ)
    believable_samples = (
        (declared_duration_s * _TOLD_FACTOR + _PADDING_S) * SAMPLE_RATE_HZ
        if declared_duration_s
        else math.inf
    )
    decoded = 0
    for pcm in _read_pcm(upload):
        skipped = max(0, start_sample - decoded) * SAMPLE_BYTES
        decoded += len(pcm) // SAMPLE_BYTES
        if decoded > max_samples:
            raise AudioTooLong(max_audio_s)
        if declared_duration_s and decoded > believable_samples:
            raise MoreThanTold(declared_duration_s)
        if skipped < len(pcm):
            yield pcm[skipped:]
    if decoded == 0:
        raise UnreadableAudio(NO_SOUND)


def _read_pcm(upload: BinaryIO) -> Iterator[bytes]:
    """All the sound; by FFmpeg, or where that brings out nothing (32 channels and more) by libsndfile."""
    for read_frames in (ffmpeg_sound.read_frames, libsndfile_sound.read_frames):
        pcm = _resample(read_frames(upload))
        with suppress(UnreadableAudio):
            if (first := next(pcm, None)) is not None:
                return chain((first,), pcm)
    return iter(())


def _resample(frames: Iterable[AudioFrame]) -> Iterator[bytes]:
    """`frames` at 16 kHz; their rate, layout and format may change from one to the next."""
    resampler, given = _new_resampler(), None
    for frame in frames:
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if given not in (None, kind):
            yield from _pass_through(resampler, None)
            resampler = _new_resampler()
        given = kind
        frame.pts = None  # damaged files have times that go backwards, which the resampler refuses
        yield from _pass_through(resampler, frame)
    yield from _pass_through(resampler, None)


def _new_resampler() -> AudioResampler:
    return AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)


def _pass_through(resampler: AudioResampler, frame: AudioFrame | None) -> Iterator[bytes]:
    """What comes out for `frame`, or at the end for None; nothing for a frame that makes no sense."""
    with skip_damage():
        for resampled in resampler.resample(frame):
            yield resampled.to_ndarray().tobytes()
