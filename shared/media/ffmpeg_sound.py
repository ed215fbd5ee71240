"""Sound read by FFmpeg: the one place that says which containers and decoders untrusted media may reach."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import av
import av.subtitles.stream  # PyAV imports it at the first file, when a confined child can open nothing
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec import codecs_available
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard

from shared.errors import UnreadableAudio

NO_SOUND = "This file has no sound that can be decoded: it is empty, cut short or damaged."
UNKNOWN_KIND = "This file is no audio or video that can be read: send wav, flac, mp3, ogg, m4a, webm or mp4."

# FFmpeg knows some 300 containers, among them playlists, which open other files, and text shown as video.
_CONTAINERS = "aac,ac3,aiff,amr,asf,au,avi,caf,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,w64,wav,wv"
_CODECS = (
    "aac,aac_latm,ac3,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,alac,amrnb,amrwb,eac3,flac,g726,g726le,gsm,gsm_ms,"
    "libopus,mp1,mp1float,mp2,mp2float,mp3,mp3float,opus,speex,vorbis,wavpack,wmapro,wmav1,wmav2,wmavoice,"
    + ",".join(sorted(name for name in codecs_available if name.startswith("pcm_")))
)
# The decoders are named so that FFmpeg runs no video decoder to learn what a video looks like.
# In the samples of a WAV file FFmpeg looks for DTS, which is not on the list, and takes 3 ms if it may;
# four packets are enough for tracks whose kind is told nowhere else.
_OPTIONS = {"format_whitelist": _CONTAINERS, "codec_whitelist": _CODECS, "max_probe_packets": "4"}
# What PyAV raises on damaged files: FFmpeg's errors, those of seeks that FFmpeg asks the file for, and of
# tracks that turn up late.
_DAMAGE = (av.FFmpegError, OSError, IndexError, ValueError)


@contextmanager
def skip_damage() -> Iterator[None]:
    """Leave the block where what PyAV reads is damaged; a MemoryError goes on."""
    try:
        yield
    except MemoryError:  # FFmpeg's own is one of its errors too
        raise
    except _DAMAGE:
        pass


@contextmanager
def open_sound(upload: BinaryIO) -> Iterator[tuple[InputContainer, AudioStream]]:
    """The container in `upload` and its best sound track.

    Raises:
        UnreadableAudio: it is no container of the list, or has no sound track that may be decoded.
        MemoryError: opening it takes more than this process may have.
    """
    upload.seek(0)
    try:
        container = av.open(upload, "r", container_options=_OPTIONS, metadata_errors="ignore")
    except MemoryError:
        raise
    except _DAMAGE as error:
        raise UnreadableAudio(UNKNOWN_KIND) from error
    with container:
        yield container, _sound_track(container)


def _sound_track(container: InputContainer) -> AudioStream:
    track = container.streams.best("audio")
    if not isinstance(track, AudioStream):
        kind = "video" if container.streams.video else "file"
        raise UnreadableAudio(f"This {kind} has no sound track.")
    codec = getattr(track.codec_context, "name", None)  # no context where FFmpeg knows no decoder
    if codec not in _CODECS.split(","):
        raise UnreadableAudio("The sound in this file has an encoding that is not supported.")
    track.codec_context.thread_count = 1  # the process may start no threads
    for stream in container.streams:
        if stream is not track:
            stream.discard = Discard.all
    return track


def read_packets(container: InputContainer, track: AudioStream) -> Iterator["Packet[AudioStream]"]:
    """The packets of `track` to the end of the file, or to where it cannot be followed any further."""
    with skip_damage():
        yield from container.demux(track)


def decode_packet(packet: "Packet[AudioStream]") -> list[AudioFrame]:
    """The sound in `packet`; none where it is damaged, which decoders tell by any error at all."""
    with skip_damage():
        return [frame for frame in packet.decode() if frame.samples]
    return []


def read_frames(upload: BinaryIO) -> Iterator[AudioFrame]:
    """All that can be decoded of the best sound track, in order; damaged packets are left out.

    Raises:
        UnreadableAudio, MemoryError: as `open_sound`.
    """
    with open_sound(upload) as (container, track):
        for packet in read_packets(container, track):
            yield from decode_packet(packet)
