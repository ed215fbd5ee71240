"""Resampling to 16 kHz mono, with the counts of what went in and what came out."""

import math
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from shared.audio_format import SAMPLE_RATE_HZ
from shared.media.ffmpeg_sound import skip_damage
from shared.media.pcm_frames import SAMPLE_BYTES


class SoundKind(msgspec.Struct, frozen=True):
    """The properties of frames that one resampler cannot change."""

    sample_format: str
    layout: str
    rate_hz: int

    @property
    def period(self) -> int:
        """Return the number of samples after which the resampler's filters repeat."""
        return self.rate_hz // math.gcd(self.rate_hz, SAMPLE_RATE_HZ)


_OUTPUT = SoundKind("s16", "mono", SAMPLE_RATE_HZ)
_UNNAMED_OUTPUT = SoundKind("s16", "1 channels", SAMPLE_RATE_HZ)  # as in WAV files, which name no speakers


class Resampling:
    """The sound of an upload: frames of any kind in, signed 16-bit mono at 16 kHz out.

    A frame of another kind begins a new resampler. `given` is the number of samples that the current
    resampler was given. `began_at` is the number that was written before it began. A resampling that begins
    within an upload continues both counts, and leaves out what precedes the next period.
    """

    def __init__(self, *, given: int = 0, began_at: int = 0) -> None:
        self.kind: SoundKind | None = None
        self.given = given
        self.began_at = began_at
        self.written = began_at
        self._left_out = 0
        self._resampler = _new_resampler()

    @property
    def position(self) -> int:
        """Return the number of samples at 16 kHz that the frames so far stand for."""
        return self.find_position(self.kind) if self.kind else self.began_at

    def find_position(self, kind: SoundKind) -> int:
        """Return the position, also of a resampling within an upload before its first frame, of `kind`."""
        return self.began_at + self.given * SAMPLE_RATE_HZ // (self.kind or kind).rate_hz

    def add(self, frame: AudioFrame) -> Iterator[bytes]:
        """Yield the samples that `frame` completes; nothing for a damaged frame."""
        kind = describe_kind(frame)
        if self.kind is None:
            self._begin_within(kind)
        elif kind != self.kind:
            yield from self.finish()
            self.kind, self.given, self.began_at = kind, 0, self.written
            self._resampler = _new_resampler()
        begin = min(self._left_out, frame.samples)
        self._left_out -= begin
        if begin < frame.samples:
            self.given += frame.samples - begin
            yield from self._pass_through(cut_frame(frame, begin=begin))

    def finish(self) -> Iterator[bytes]:
        """Yield the samples that the resampler still holds."""
        yield from self._pass_through(None)

    def _begin_within(self, kind: SoundKind) -> None:
        self.kind = kind
        self._left_out = -self.given % kind.period
        self.given += self._left_out
        self.written = self.position

    def _pass_through(self, frame: AudioFrame | None) -> Iterator[bytes]:
        if frame is not None and self.kind in (_OUTPUT, _UNNAMED_OUTPUT):
            self.written += frame.samples
            yield _read_samples(frame)
            return
        if frame is not None:
            frame.pts = None  # damaged files have times that go backwards, which the resampler refuses
        with skip_damage():
            for resampled in self._resampler.resample(frame):
                self.written += resampled.samples
                yield _read_samples(resampled)


def describe_kind(frame: AudioFrame) -> SoundKind:
    """Return the kind of `frame`."""
    return SoundKind(frame.format.name, frame.layout.name, frame.sample_rate)


def cut_frame(frame: AudioFrame, *, begin: int = 0, end: int | None = None) -> AudioFrame:
    """Return the samples of `frame` from `begin` to `end`, or `frame` itself if these are all."""
    end = frame.samples if end is None else min(end, frame.samples)
    if (begin, end) == (0, frame.samples):
        return frame
    columns = 1 if frame.format.is_planar else frame.layout.nb_channels
    kept: npt.NDArray[Any] = np.ascontiguousarray(frame.to_ndarray()[:, begin * columns : end * columns])
    cut = AudioFrame.from_ndarray(kept, format=frame.format.name, layout=frame.layout.name)
    cut.sample_rate = frame.sample_rate
    return cut


def make_silence(frame: AudioFrame, seconds: float) -> Iterator[AudioFrame]:
    """Yield frames of silence of the kind of `frame`, at most a second each."""
    left = round(seconds * frame.sample_rate)
    while left:
        silence = AudioFrame(frame.format.name, frame.layout.name, min(left, frame.sample_rate))
        silence.sample_rate = frame.sample_rate
        for plane in silence.planes:
            plane.update((b"\x80" if frame.format.name.startswith("u8") else b"\0") * plane.buffer_size)
        left -= silence.samples
        yield silence


def _new_resampler() -> AudioResampler:
    return AudioResampler(format=_OUTPUT.sample_format, layout=_OUTPUT.layout, rate=_OUTPUT.rate_hz)


def _read_samples(frame: AudioFrame) -> bytes:
    """Return the samples of a frame in the output format, without the padding of its buffer."""
    return bytes(memoryview(frame.planes[0])[: frame.samples * SAMPLE_BYTES])
