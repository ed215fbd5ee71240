"""Decoding of an upload to 16 kHz mono samples, frame by frame, in constant memory."""

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
from shared.media.messages import DECODER_PADDING_S, limit_decoded_s
from shared.media.pcm_frames import SAMPLE_BYTES

_OUTPUT = ("s16", "mono", SAMPLE_RATE_HZ)
_UNNAMED_OUTPUT = ("s16", "1 channels", SAMPLE_RATE_HZ)  # as in WAV files, which name no speakers


class DeclaredDurationExceeded(Exception):
    """Raised by `decode_audio` if the upload holds clearly more sound than the probe reported."""

    def __init__(self, declared_duration_s: float) -> None:
        super().__init__(
            f"The file holds more sound than the {declared_duration_s:g} s that its header and packets "
            "declare. Convert it to wav, flac or mp3 and send it again."
        )


def decode_audio(
    upload: BinaryIO, *, max_audio_s: float, declared_duration_s: float | None = None, start_sample: int = 0
) -> Iterator[bytes]:
    """Yield the sound of `upload` from `start_sample` on, as signed 16-bit little-endian mono at 16 kHz.

    `declared_duration_s` is the duration that the probe reported, if there was a probe.

    Raises:
        UnreadableAudio: nothing in the upload can be decoded.
        AudioTooLong: the upload holds more than `max_audio_s` of sound, whatever its header declares.
        DeclaredDurationExceeded: the upload holds clearly more sound than `declared_duration_s`.
    """
    decoded = 0
    for pcm in _read_pcm(upload):
        skipped = max(0, start_sample - decoded) * SAMPLE_BYTES
        decoded += len(pcm) // SAMPLE_BYTES
        decoded_s = decoded / SAMPLE_RATE_HZ
        if decoded_s > max_audio_s + DECODER_PADDING_S:
            raise AudioTooLong(max_audio_s)
        if declared_duration_s and decoded_s > limit_decoded_s(declared_duration_s):
            raise DeclaredDurationExceeded(declared_duration_s)
        if skipped < len(pcm):
            yield pcm[skipped:]
    if decoded == 0:
        raise UnreadableAudio(NO_SOUND)


def _read_pcm(upload: BinaryIO) -> Iterator[bytes]:
    """Return all the sound, read by FFmpeg, or by libsndfile if FFmpeg yields none (32 channels or more)."""
    for read_frames in (ffmpeg_sound.read_frames, libsndfile_sound.read_frames):
        pcm = _resample(read_frames(upload))
        with suppress(UnreadableAudio):
            if (first := next(pcm, None)) is not None:
                return chain((first,), pcm)
    return iter(())


def _resample(frames: Iterable[AudioFrame]) -> Iterator[bytes]:
    """Yield `frames` at 16 kHz. Their rate, layout and format may change from one frame to the next."""
    resampler, given = _new_resampler(), None
    for frame in frames:
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if given not in (None, kind):
            yield from _pass_through(resampler, None)
            resampler = _new_resampler()
        given = kind
        if kind in (_OUTPUT, _UNNAMED_OUTPUT):
            yield _read_samples(frame)
            continue
        frame.pts = None  # damaged files have times that go backwards, which the resampler refuses
        yield from _pass_through(resampler, frame)
    yield from _pass_through(resampler, None)


def _new_resampler() -> AudioResampler:
    sample_format, layout, rate_hz = _OUTPUT
    return AudioResampler(format=sample_format, layout=layout, rate=rate_hz)


def _pass_through(resampler: AudioResampler, frame: AudioFrame | None) -> Iterator[bytes]:
    """Yield the resampled `frame`, or the rest for None. Yield nothing for a damaged frame."""
    with skip_damage():
        for resampled in resampler.resample(frame):
            yield _read_samples(resampled)


def _read_samples(frame: AudioFrame) -> bytes:
    """Return the samples of a frame in the output format, without the padding of its buffer."""
    return bytes(memoryview(frame.planes[0])[: frame.samples * SAMPLE_BYTES])
