"""Sound files made for tests, in any container, encoding, rate and number of channels."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet
from av.subtitles.stream import SubtitleStream

from shared.audio_format import SeekPoint

Block = TypeVar("Block")

CLIPS = Path(__file__).parents[1] / "audio"
SPEECH_SAMPLES = 65_840
"""The length of the sentence in the clips `speech.*`, in samples at 16 kHz."""

_FRAME = 1_024
_ASS_HEADER = b"[Script Info]\n[V4+ Styles]\nFormat: Name\nStyle: Default\n"


def make_tone(seconds: float, *, rate_hz: int = 16_000, tone_hz: float = 440.0) -> npt.NDArray[np.float32]:
    """Return a tone at half of full scale, shape (seconds * rate_hz,)."""
    times_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * tone_hz * times_s)).astype(np.float32)


def encode(samples: npt.NDArray[np.float32], path: Path, *, codec: str, rate_hz: int = 16_000) -> Path:
    """Write mono `samples` at `rate_hz` to `path`; its suffix names the container."""
    with av.open(path, "w") as container:
        track = container.add_stream(codec, rate=rate_hz, layout="mono")
        assert isinstance(track, AudioStream)
        for begin in range(0, len(samples), _FRAME):
            frame = AudioFrame.from_ndarray(
                samples[None, begin : begin + _FRAME], format="fltp", layout="mono"
            )
            frame.sample_rate = rate_hz
            frame.pts = begin
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return path


def add_subtitles(clip: Path, path: Path, *, codec: str) -> Path:
    """Write the sound of `clip` and a subtitle track to `path`; its suffix names the container."""
    with av.open(clip) as source, av.open(path, "w") as container:
        sound = container.add_stream_from_template(source.streams.audio[0])
        text = container.add_stream(codec)
        assert isinstance(text, SubtitleStream)
        text.codec_context.subtitle_header = _ASS_HEADER
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = sound
                container.mux(packet)
        subtitle = Packet(b"\0\5Hello" if codec == "mov_text" else b"Hello")
        subtitle.stream, subtitle.time_base = text, Fraction(1, 1_000)
        subtitle.pts, subtitle.dts, subtitle.duration = 0, 0, 1_000
        container.mux(subtitle)
    return path


def only_samples(sound: Iterable[Block | SeekPoint]) -> Iterator[Block]:
    """Yield the blocks of samples in `sound`."""
    return (found for found in sound if not isinstance(found, SeekPoint))


def repeat_clip(name: str, path: Path, *, times: int) -> Path:
    """Write the clip `name`, a stream without a header (aac, mp3), `times` times in a row."""
    clip = (CLIPS / name).read_bytes()
    with path.open("wb") as file:
        for _ in range(times):
            file.write(clip)
    return path


def damage(path: Path, *, begin: int, end: int) -> Path:
    """Overwrite the bytes from `begin` to `end` of the file with noise."""
    content = bytearray(path.read_bytes())
    content[begin:end] = np.random.default_rng(7).bytes(end - begin)
    path.write_bytes(content)
    return path
