"""Files of every kind that PyAV can write: containers, encodings of sound, and other tracks beside it."""

import io
from collections.abc import Iterator, Mapping
from contextlib import suppress
from fractions import Fraction

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.codec import Codec, codecs_available
from av.container import OutputContainer
from av.error import FFmpegError
from av.format import ContainerFormat, formats_available
from av.packet import Packet
from av.stream import Stream
from av.subtitles.stream import SubtitleStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

_SECONDS = 1
# The rates and channels that encoders ask for, in the order in which they are tried.
_SHAPES = ((48_000, "stereo"), (8_000, "mono"), (22_050, "mono"), (48_000, "5.1"))
_BIT_RATE = 16_000  # of an encoder for telephones; others take their nearest
_ASS_HEADER = b"[Script Info]\n[V4+ Styles]\nFormat: Name\nStyle: Default\n"
_SUBTITLES: Mapping[str, tuple[str, ...]] = {
    "matroska": ("srt", "ass", "webvtt", "dvdsub", "dvbsub", "text"),
    "webm": ("webvtt",),
    "mp4": ("mov_text",),
    "mov": ("mov_text",),
    "mpegts": ("dvbsub",),
}
# No encoder writes Blu-ray subtitles. The name of another kind is as long.
_RENAMED = (b"S_TEXT/ASS", b"S_HDMV/PGS")
_FAILED = (FFmpegError, ValueError, OverflowError)


def make_kinds() -> Iterator[tuple[str, bytes]]:
    """Yield a name and a file for each container, encoding and kind of track that PyAV can write."""
    for container in _list_containers():
        for codec in _list_codecs(container):
            if content := _try_shapes(container, codec):
                yield f"{codec} in {container}", content
    for container, codecs in _SUBTITLES.items():
        for codec in codecs:
            yield f"{codec} subtitles in {container}", make_film(container, subtitles=codec)
    film = make_film("matroska", subtitles="ass").replace(*_RENAMED)
    yield "pgs subtitles in matroska", film
    for container in ("matroska", "mov", "mpegts"):
        yield f"all tracks in {container}", make_film(container, has_others=True)


def make_film(container: str, *, subtitles: str = "", has_others: bool = False) -> bytes:
    """Return a file with sound, and with a track of `subtitles`.

    With `has_others`, it has a picture, a time code, data, an attachment and chapters as far as `container`
    takes them.
    """
    made = io.BytesIO()
    with av.open(made, "w", format=container, options={"strict": "-2"}) as film:
        sound = film.add_stream(film.default_audio_codec, rate=48_000, layout="stereo")
        assert isinstance(sound, AudioStream)
        text = _add_subtitles(film, subtitles) if subtitles else None
        picture, extra = _add_others(film) if has_others else (None, None)
        _mux_sound(film, sound)
        for track in filter(None, (text, extra)):
            film.mux(_make_packet(track, b"\0\5Hello" if subtitles == "mov_text" else b"Hello"))
        if picture is not None:
            film.mux(picture.encode(VideoFrame(64, 64, "yuv420p")))
            film.mux(picture.encode(None))
    return made.getvalue()


def _list_containers() -> list[str]:
    return [name for name in sorted(formats_available) if _is_written_to_one_file(name)]


def _is_written_to_one_file(name: str) -> bool:
    form = ContainerFormat(name)
    return form.is_output and not form.no_file and name not in {"dash", "hls", "segment"}


def _list_codecs(container: str) -> list[str]:
    """Return all encodings for containers that take many, else the usual one."""
    if container in {"matroska", "mov", "wav", "nut", "caf", "aiff", "avi", "asf"}:
        return [name for name in sorted(codecs_available) if _encodes_sound(name)]
    with av.open(io.BytesIO(), "w", format=container) as empty:
        return [name for name in (empty.default_audio_codec,) if name != "none"]


def _encodes_sound(name: str) -> bool:
    with suppress(ValueError):
        return Codec(name, "w").type == "audio"
    return False


def _try_shapes(container: str, codec: str) -> bytes | None:
    """Return a file in the first shape that encoder and container take."""
    for rate_hz, layout in _SHAPES:
        made = io.BytesIO()
        with suppress(*_FAILED), av.open(made, "w", format=container, options={"strict": "-2"}) as file:
            track = file.add_stream(codec, rate=rate_hz, layout=layout)
            assert isinstance(track, AudioStream)
            track.codec_context.bit_rate = _BIT_RATE if rate_hz < 16_000 else 8 * _BIT_RATE
            _mux_sound(file, track)
            file.close()
            return made.getvalue()
    return None


def _mux_sound(file: OutputContainer, track: AudioStream) -> None:
    context = track.codec_context
    context.open(strict=False)
    convert = AudioResampler(
        context.format.name, context.layout.name, context.sample_rate, frame_size=context.frame_size or 1_024
    )
    tone = np.sin(np.arange(_SECONDS * context.sample_rate) / 10).astype(np.float32)
    frame = AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts = context.sample_rate, 0
    for converted in convert.resample(frame):
        file.mux(track.encode(converted))
    file.mux(track.encode(None))


def _add_subtitles(film: OutputContainer, codec: str) -> SubtitleStream:
    track = film.add_stream(codec)
    assert isinstance(track, SubtitleStream)
    track.codec_context.subtitle_header = _ASS_HEADER
    return track


def _add_others(film: OutputContainer) -> tuple[VideoStream, Stream | None]:
    film.metadata["timecode"] = "01:00:00:00"
    film.set_chapters([{"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1_000), "metadata": {}}])
    picture = film.add_stream("mpeg2video", rate=25, width=64, height=64, pix_fmt="yuv420p")
    assert isinstance(picture, VideoStream)
    if film.format.name == "matroska":
        film.add_attachment("letter.ttf", "font/ttf", b"letters")
    return picture, film.add_data_stream("klv") if film.format.name == "mpegts" else None


def _make_packet(track: Stream, content: bytes) -> "Packet[Stream]":
    packet = Packet(content)
    packet.stream, packet.time_base = track, Fraction(1, 1_000)
    packet.pts, packet.dts, packet.duration = 0, 0, 500
    return packet
