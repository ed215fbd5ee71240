"""Sound read by FFmpeg, and the list of containers and decoders that untrusted media may reach."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import BinaryIO, TypeAlias

import av

# PyAV imports these when a file needs them. By then the sandbox forbids it.
import av.subtitles.codeccontext
import av.subtitles.stream
import av.subtitles.subtitle
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec import codecs_available
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition

from shared.errors import UnreadableAudio

NO_SOUND = "This file has no sound that can be decoded: it is empty, cut short or damaged."
UNKNOWN_KIND = (
    "This file is not readable audio or video. Send wav, flac, mp3, ogg, opus, m4a, aac, webm or mp4. Raw "
    "samples need a header: send them as wav."
)
CUT_SHORT = "This {kind} file is cut short, or lacks its beginning. Send the whole file."
BROKEN_SAMPLES = "All samples of this file are broken: they are infinite, or not a number. Export it again."

# FFmpeg supports some 300 containers. They include playlists, which open other files, and text as video.
_CONTAINERS = "aac,ac3,aiff,amr,asf,au,avi,caf,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,w64,wav,wv"
_CODECS = (
    "aac,aac_latm,ac3,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,alac,amrnb,amrwb,eac3,flac,g726,g726le,gsm,gsm_ms,"
    "libopus,mp1,mp1float,mp2,mp2float,mp3,mp3float,opus,speex,vorbis,wavpack,wmapro,wmav1,wmav2,wmavoice,"
    + ",".join(sorted(name for name in codecs_available if name.startswith("pcm_")))
)
# The list of decoders keeps FFmpeg from running a video decoder to examine a video. Four packets are enough
# to identify tracks whose codec the header omits. Without the limit FFmpeg spends 3 ms on searching WAV
# samples for DTS, which is not on the list.
_OPTIONS = {"format_whitelist": _CONTAINERS, "codec_whitelist": _CODECS, "max_probe_packets": "4"}
# The errors that PyAV raises on damaged files: those of FFmpeg, of seeks in the file, and of tracks that
# first appear late in the file.
DAMAGE = (av.FFmpegError, OSError, IndexError, ValueError)

_MAX_LISTED = 20
_SEARCHED_BYTES = 1 << 20
_MP4_BOXES = frozenset({b"ftyp", b"mdat", b"moof", b"moov", b"styp"})
_EBML, _WEBM_CLUSTER = b"\x1a\x45\xdf\xa3", b"\x1f\x43\xb6\x75"

SoundPacket: TypeAlias = "Packet[AudioStream]"


@contextmanager
def skip_damage() -> Iterator[None]:
    """Leave the block at damaged input; let a MemoryError through."""
    try:
        yield
    except MemoryError:  # FFmpeg's own MemoryError is also one of its FFmpegErrors
        raise
    except DAMAGE:
        pass


@contextmanager
def open_sound(
    upload: BinaryIO, audio_track: Collection[str] = ()
) -> Iterator[tuple[InputContainer, AudioStream]]:
    """Open the container in `upload` and one of its sound tracks for the `with` block.

    `audio_track` has the number of a track, from 1, or the codes of its language. Without it, tracks with the
    default flag come first. The first one that may be decoded is taken.

    Raises:
        UnreadableAudio: the container is not on the list, or has no such sound track that may be decoded.
        MemoryError: opening the upload takes more memory than this process may have.
    """
    upload.seek(0)
    try:
        container = av.open(upload, "r", container_options=_OPTIONS, metadata_errors="ignore")
    except MemoryError:
        raise
    except DAMAGE as error:
        raise UnreadableAudio(_explain(upload)) from error
    with container:
        yield container, _sound_track(container, audio_track)


def _explain(upload: BinaryIO) -> str:
    """Return the reason why a container cannot be opened, by the marks of pieces of common ones."""
    upload.seek(0)
    beginning = upload.read(_SEARCHED_BYTES)
    if beginning[4:8] in _MP4_BOXES:
        return CUT_SHORT.format(kind="mp4 or m4a")
    if _EBML in beginning[:4] or _WEBM_CLUSTER in beginning:
        return CUT_SHORT.format(kind="webm or mkv")
    return UNKNOWN_KIND


def _sound_track(container: InputContainer, audio_track: Collection[str]) -> AudioStream:
    tracks = container.streams.audio
    if not tracks:
        kind = "video" if container.streams.video else "file"
        raise UnreadableAudio(f"This {kind} has no sound track.")
    wanted = [track for number, track in enumerate(tracks, 1) if _is_wanted(track, number, audio_track)]
    if not wanted:
        raise UnreadableAudio(
            f"The file has no such audio_track. Its sound tracks are {_list_tracks(tracks)}. Send the number "
            "or the language of one of them, or omit audio_track.",
            param="audio_track",
        )
    wanted.sort(key=lambda track: not track.disposition & Disposition.default)
    chosen = next((track for track in wanted if _name_decoder(track) in _CODECS.split(",")), None)
    if chosen is None:
        raise UnreadableAudio(
            f"The encoding {_name_codec(wanted[0])} is not supported. Convert the file to wav, flac or mp3."
        )
    chosen.codec_context.thread_count = 1  # the sandbox forbids threads
    for stream in container.streams:
        if stream is not chosen:
            stream.discard = Discard.all
    return chosen


def _is_wanted(track: AudioStream, number: int, audio_track: Collection[str]) -> bool:
    language = (track.language or "").lower().partition("-")[0]
    return not audio_track or str(number) in audio_track or language in audio_track


def _list_tracks(tracks: Sequence[AudioStream]) -> str:
    listed = (f"{number} ({track.language or 'no language'})" for number, track in enumerate(tracks, 1))
    return ", ".join(islice(listed, _MAX_LISTED))


def _name_decoder(track: AudioStream) -> str | None:
    """Return the name of the decoder for `track`. Without one there is no context."""
    return getattr(track.codec_context, "name", None)


def _name_codec(track: AudioStream) -> str:
    return track.codec_context.codec.canonical_name if _name_decoder(track) else "of the sound"


def read_packets(container: InputContainer, track: AudioStream) -> Iterator[SoundPacket]:
    """Yield the packets of `track` until the file ends or is too damaged to go on."""
    with skip_damage():
        yield from container.demux(track)


def decode_packet(packet: SoundPacket) -> list[AudioFrame]:
    """Return the sound in `packet`; nothing if it is damaged, for which decoders raise any kind of error."""
    with skip_damage():
        return [frame for frame in packet.decode() if frame.samples]
    return []


def has_numbers(frame: AudioFrame) -> bool:
    """Return whether one sample of `frame` is a finite number, as all whole numbers are."""
    is_whole = not frame.format.name.startswith(("flt", "dbl"))  # NumPy gets no whole numbers of 64 bits
    return is_whole or bool(np.isfinite(frame.to_ndarray()).any())
