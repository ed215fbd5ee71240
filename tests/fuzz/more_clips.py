"""Clips in further containers and encodings that the server reads, made at each run."""

import io
from collections.abc import Mapping

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

_SECONDS = 2.0
# The ending of the name, the container and the encoding as FFmpeg calls them, and the rate.
_KINDS: Mapping[str, tuple[str, str, int]] = {
    "ac3": ("ac3", "ac3", 32_000),
    "adpcm.wav": ("wav", "adpcm_ms", 16_000),
    "aiff": ("aiff", "pcm_s16be", 16_000),
    "asf": ("asf", "wmav2", 44_100),
    "au": ("au", "pcm_s16be", 16_000),
    "avi": ("avi", "pcm_s16le", 16_000),
    "caf": ("caf", "alac", 16_000),
    "flv": ("flv", "aac", 32_000),
    "g726.wav": ("wav", "g726", 8_000),
    "mpg": ("mpeg", "mp2", 32_000),
    "ts": ("mpegts", "mp2", 32_000),
    "w64": ("w64", "pcm_s16le", 16_000),
    "wv": ("wv", "wavpack", 16_000),
}
_BIT_RATES = {"wmav2": 64_000}  # its encoder has no default


def make_more_clips(wav: bytes) -> dict[str, bytes]:
    """Return the beginning of a WAV file in each kind, by name; the same bytes each time."""
    return {f"made.{ending}": _encode(_read_frames(wav), *kind) for ending, kind in _KINDS.items()}


def _read_frames(wav: bytes) -> list[AudioFrame]:
    with av.open(io.BytesIO(wav), "r") as container:
        frames = []
        for frame in container.decode(audio=0):
            if frame.time is not None and frame.time >= _SECONDS:
                break
            frames.append(frame)
        return frames


def _encode(frames: list[AudioFrame], container_name: str, codec: str, rate_hz: int) -> bytes:
    made = io.BytesIO()
    with av.open(made, "w", format=container_name, options={"fflags": "bitexact"}) as container:
        track = container.add_stream(codec, rate=rate_hz, layout="mono")
        if not isinstance(track, AudioStream):
            raise TypeError(codec)
        if codec in _BIT_RATES:
            track.codec_context.bit_rate = _BIT_RATES[codec]
        resampler = AudioResampler(format=track.codec_context.format.name, layout="mono", rate=rate_hz)
        for frame in frames:
            for resampled in resampler.resample(frame):
                container.mux(track.encode(resampled))
        container.mux(track.encode(None))
    return made.getvalue()
