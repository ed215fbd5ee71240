"""Seek points: chosen while an upload is decoded, and used to enter it again.

Timestamps do not count samples: they jump back, or are estimates. So a seek point names packets by their
first byte, and the first decoding counted the samples before them, with the silence that fills holes.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import BinaryIO, TypeAlias

import msgspec
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from shared.audio_format import SAMPLE_RATE_HZ, SeekPoint
from shared.errors import UnreadableAudio
from shared.media.ffmpeg_sound import DAMAGE, SoundPacket, decode_packet, open_sound, read_packets
from shared.media.joined_files import split_joined
from shared.media.resampling import Resampling, cut_frame, describe_kind
from shared.media.time_line import read_time_line

SEEK_INTERVAL_SAMPLES = 5 * SAMPLE_RATE_HZ
"""The least distance between two seek points of an upload."""

# Decoders predict from earlier packets. MP3 needs up to 511 bytes of them, Opus 80 ms.
_WARM_UP_SAMPLES = SAMPLE_RATE_HZ
# The first sample after the start of a resampler's period needs filters that are shorter than this.
_FILTER_SAMPLES = SAMPLE_RATE_HZ // 10
# FFmpeg enters these containers at any byte and looks for the next packet.
_ENTERED_BY_BYTE = frozenset(
    {"aac", "ac3", "aiff", "amr", "au", "avi", "eac3", "flac", "flv", "mp3", "mpegts", "w64", "wav", "wv"}
)
# These have an index, or pages with times. Matroska entered by byte would end with the first of joined files.
_ENTERED_BY_TIME = frozenset({"caf", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "ogg"})
# Longer padding does not occur at the end of an MP3. FFmpeg keeps sound that follows the padding.
_MAX_PADDING_S = 0.1


DecodedPacket: TypeAlias = "tuple[SoundPacket, list[AudioFrame]]"


class SeekFailed(Exception):
    """Raised if an upload cannot be entered at a seek point. It must be decoded from its start."""


class Place(msgspec.Struct, frozen=True):
    """A packet that can be found again: its first byte in the upload, and its time if it has one."""

    byte: int
    ticks: int | None


class SoundPiece(msgspec.Struct, frozen=True):
    """The frames of one packet, at least one. The packet has a place if the upload can be entered there.

    The sound begins `begin_s` seconds after the start of the upload, if the container tells.
    """

    frames: list[AudioFrame]
    place: Place | None = None
    begin_s: float | None = None


def read_sound(
    upload: BinaryIO, point: SeekPoint | None = None, *, audio_track: Collection[str] = ()
) -> Iterator[SoundPiece]:
    """Yield the sound of one track, without damaged packets, from the start or the anchor of `point`.

    Joined files follow each other. Only the first one can be entered, and has times that are compared.

    Raises:
        UnreadableAudio, MemoryError: as in `open_sound`.
        SeekFailed: the upload cannot be entered at `point`.
    """
    first, *others = split_joined(upload).files
    yield from _read_file(first, point, audio_track)
    for other in others:
        with suppress(UnreadableAudio):
            for piece in _read_file(other, None, audio_track):
                yield SoundPiece(piece.frames)


def _read_file(
    upload: BinaryIO, point: SeekPoint | None, audio_track: Collection[str]
) -> Iterator[SoundPiece]:
    with open_sound(upload, audio_track) as (container, track):
        places, time_line = _PlaceFinder(container), read_time_line(container, track)
        for packet, frames in _decode_track(container, track, point):
            place = places.find(packet)
            if frames:
                yield SoundPiece(frames, place, time_line.locate(frames[0].time))


class _PlaceFinder:
    """Names the packets at which a container can be entered."""

    def __init__(self, container: InputContainer) -> None:
        self._is_seekable = container.format.name in _ENTERED_BY_BYTE | _ENTERED_BY_TIME
        self._last_byte: int | None = None

    def find(self, packet: SoundPacket) -> Place | None:
        """Return the place of `packet`. Of the packets in one page or block, only the first has one."""
        if packet.has_sidedata("new_extradata"):
            self._is_seekable = False  # a decoder that enters later would not have these parameters
        byte, last_byte, self._last_byte = packet.pos, self._last_byte, packet.pos
        return Place(byte, packet.pts) if self._is_seekable and byte and byte != last_byte else None


class SeekPointFinder:
    """Chooses the seek points of an upload while its pieces are resampled."""

    def __init__(self, resampling: Resampling) -> None:
        self._resampling = resampling
        self._due = resampling.began_at + SEEK_INTERVAL_SAMPLES
        self._entry: Place | None = None

    def find(self, piece: SoundPiece) -> SeekPoint | None:
        """Return the seek point whose anchor is `piece`, if one is due. The piece is not resampled yet."""
        kind, sample = self._resampling.kind, self._resampling.position
        if piece.place is None or sample < self._due:
            return None
        if self._entry is None:
            self._entry, self._due = piece.place, sample + _WARM_UP_SAMPLES
            return None
        if kind is None or describe_kind(piece.frames[0]) != kind:
            return None
        entry, self._entry, self._due = self._entry, None, sample + SEEK_INTERVAL_SAMPLES
        return SeekPoint(
            sample=sample + _FILTER_SAMPLES + kind.period * SAMPLE_RATE_HZ // kind.rate_hz,
            entry_byte=entry.byte,
            entry_ticks=entry.ticks,
            anchor_byte=piece.place.byte,
            anchor_ticks=piece.place.ticks,
            given=self._resampling.given,
            began_at=self._resampling.began_at,
        )


def _decode_track(
    container: InputContainer, track: AudioStream, point: SeekPoint | None
) -> Iterator[DecodedPacket]:
    if point is None:
        return ((packet, decode_packet(packet)) for packet in read_packets(container, track))
    _enter(container, track, point)
    decoded = _find_anchor(read_packets(container, track), point)
    if container.format.name == "mp3" and point.anchor_ticks is not None and _is_padding_declared(track):
        return _cut_padding(decoded, track, point.anchor_ticks)
    return decoded


def _enter(container: InputContainer, track: AudioStream, point: SeekPoint) -> None:
    try:
        if container.format.name in _ENTERED_BY_BYTE:
            container.seek(point.entry_byte, unsupported_byte_offset=True)
        elif point.entry_ticks is not None:
            container.seek(point.entry_ticks, stream=track)
    except MemoryError:
        raise
    except (*DAMAGE, OverflowError) as error:
        raise SeekFailed from error


def _find_anchor(packets: Iterator[SoundPacket], point: SeekPoint) -> Iterator[DecodedPacket]:
    is_found, late_ticks = False, 0
    for packet in packets:
        byte = packet.pos
        if not is_found and byte is not None:
            if byte > point.anchor_byte:
                break
            is_found = byte == point.anchor_byte
            if is_found and packet.pts is not None and point.anchor_ticks is not None:
                late_ticks = point.anchor_ticks - packet.pts  # AMR counts from where it was entered
        if packet.pts is not None:
            packet.pts += late_ticks
        frames = decode_packet(packet) if byte is None or byte >= point.entry_byte else []
        if is_found:
            yield packet, frames
    if not is_found:
        raise SeekFailed


def _is_padding_declared(track: AudioStream) -> bool:
    """Return whether an MP3 declares its padding. Then its duration is a whole number of samples.

    FFmpeg does not believe the declaration in joined files, and estimates their duration from the bit rate.
    """
    samples = (track.duration or 0) * (track.time_base or 0) * track.rate
    return bool(track.start_time) and samples.denominator == 1


def _cut_padding(
    decoded: Iterator[DecodedPacket], track: AudioStream, anchor_ticks: int
) -> Iterator[DecodedPacket]:
    """Cut the encoder's padding off the end of an MP3.

    FFmpeg does this by the times of packets. After entering by byte, they have none, and get them here.
    """
    samples_per_tick = float((track.time_base or 0) * track.rate)
    padding_begins, ticks = (track.start_time or 0) + (track.duration or 0), anchor_ticks
    for packet, frames in decoded:
        left = round((padding_begins - ticks) * samples_per_tick)
        is_padded = -_MAX_PADDING_S * track.rate < left
        packet.pts, ticks = ticks, ticks + (packet.duration or 0)
        yield packet, [cut_frame(frame, end=max(0, left)) for frame in frames] if is_padded else frames
