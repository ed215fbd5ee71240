"""The length of a sound track on its time line: counted packet by packet, since headers declare anything."""

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from av.audio.stream import AudioStream
from av.container import InputContainer

from shared.errors import AudioTooLong, UnreadableAudio
from shared.media.ffmpeg_sound import (
    BROKEN_SAMPLES,
    NO_SOUND,
    SoundPacket,
    decode_packet,
    has_numbers,
    read_packets,
)
from shared.media.time_line import TimeLine, find_hole_s, read_time_line

# Packet durations include the padding that encoders add at both ends; headers leave it out.
_PADDING_S = 0.5
# A longer duration of one packet is an integer underflow in FFmpeg.
_MAX_PACKET_S = 3_600.0
# Streams without a header, whose length FFmpeg estimates from the bit rate, often wrongly.
_HEADERLESS = frozenset({"aac", "ac3", "amr", "eac3", "mp3"})
_MICROSECONDS = 1_000_000
# fmt: off
_ADTS_RATES_HZ = (
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
)
# fmt: on


class PacketCount:
    """The length of a track by its packet durations, with the holes between them. Others count as average."""

    def __init__(self, tick_s: float, time_line: TimeLine) -> None:
        self._tick_s = tick_s
        self._time_line = time_line
        self._holes_s = 0.0
        self._last_begin_s: float | None = None
        self._last_position_s = 0.0
        self._longest_ticks = _MAX_PACKET_S / tick_s if tick_s else math.inf
        self._ticks = 0.0
        self._timed = 0
        self._packets = 0
        self._begin: int | None = None
        self._end = 0

    def add(self, packet: SoundPacket, *, factor: float = 1.0) -> None:
        """Count `packet`, which lasts `factor` times its duration; ignore the empty packets at the ends."""
        if not packet.size or packet.is_discard:
            return
        self._add_hole(packet)
        self._packets += 1
        duration = packet.duration or 0
        if 0 < duration <= self._longest_ticks:
            self._timed += 1
            self._ticks += duration * factor
        else:
            duration = 0
        if packet.pts is not None:
            self._begin = packet.pts if self._begin is None else min(self._begin, packet.pts)
            self._end = max(self._end, packet.pts + duration)

    @property
    def counted_s(self) -> float:
        """Return the seconds counted so far; 0 if no packet has a duration."""
        ticks = self._ticks * self._packets / self._timed if self._timed else 0.0
        return ticks * self._tick_s + self._holes_s

    @property
    def doubt_s(self) -> float:
        """Return the possible error of the count: packets are rounded to ticks, and both ends are padded."""
        return _PADDING_S + self._packets * self._tick_s

    def choose_s(self, declared_s: float | None) -> float:
        """Return the declared length, the time from first to last packet, or the count.

        The first two are finer than the count, which includes padding and rounding. The first of them that
        agrees with the count is taken. If no packet has a duration, there is nothing to compare them with.
        """
        spanned_s = self._end * self._tick_s - min((self._begin or 0) * self._tick_s, self._time_line.zero_s)
        known_s = [seconds for seconds in (declared_s, spanned_s) if seconds is not None and seconds > 0]
        if not self._timed:
            return next(iter(known_s), 0.0)
        agreeing = (seconds for seconds in known_s if abs(seconds - self.counted_s) <= self.doubt_s)
        return next(agreeing, self.counted_s)

    def _add_hole(self, packet: SoundPacket) -> None:
        """Add the hole before the last packet, which `packet` follows."""
        begin_s = None if packet.pts is None else self._time_line.locate(packet.pts * self._tick_s)
        self._holes_s += find_hole_s(self._last_begin_s, begin_s, self._last_position_s)
        self._last_begin_s, self._last_position_s = begin_s, self.counted_s


class TrackMeter:
    """A meter for tracks. After `patience_s` it stops counting and accepts the declared length, if any."""

    def __init__(self, *, max_audio_s: float, patience_s: float) -> None:
        self._max_audio_s = max_audio_s
        self._give_up_at = time.monotonic() + patience_s

    def measure_s(
        self, container: InputContainer, track: AudioStream, *, known_s: float | None = None
    ) -> float:
        """Return the length of `track`. `known_s` is the declared length if some of it was decoded before.

        Raises:
            UnreadableAudio: nothing in the track can be decoded.
            AudioTooLong: the track has clearly more than `max_audio_s`.
        """
        time_line = read_time_line(container, track)
        declared_s = known_s or _read_declared_s(container, track, time_line)
        count = PacketCount(float(track.time_base or 0), time_line)
        is_sound, is_broken = known_s is not None, False
        for packet, factor in _find_factors(container, read_packets(container, track)):
            count.add(packet, factor=factor)
            if not is_sound and (frames := decode_packet(packet)):
                is_sound = any(map(has_numbers, frames))
                is_broken = not is_sound
            if is_sound and declared_s is not None and time.monotonic() > self._give_up_at:
                return declared_s
            if count.counted_s - count.doubt_s > self._max_audio_s:
                raise AudioTooLong(self._max_audio_s)
        if not is_sound:
            raise UnreadableAudio(BROKEN_SAMPLES if is_broken else NO_SOUND)
        return count.choose_s(declared_s)


def _find_factors(
    container: InputContainer, packets: Iterable[SoundPacket]
) -> Iterator[tuple[SoundPacket, float]]:
    """Yield `packets`, each with the factor that corrects its duration.

    FFmpeg times all packets of an AAC stream by the rate of the first, but each header has its own rate.
    """
    if container.format.name != "aac":
        yield from ((packet, 1.0) for packet in packets)
        return
    first_hz = None
    for packet in packets:
        rate_hz = _adts_rate_hz(packet)
        first_hz = first_hz or rate_hz
        yield packet, first_hz / rate_hz if first_hz and rate_hz else 1.0


def _adts_rate_hz(packet: SoundPacket) -> int | None:
    """Return the rate in an AAC packet's header: an index of four bits, after 18 other bits."""
    header = bytes(memoryview(packet)[:3])
    with suppress(IndexError):
        return _ADTS_RATES_HZ[header[2] >> 2 & 0xF]
    return None


def _read_declared_s(container: InputContainer, track: AudioStream, time_line: TimeLine) -> float | None:
    """Return the length that the header declares for the track, else for the file, else None."""
    if container.format.name in _HEADERLESS:
        return None
    tick_s = track.time_base or 0
    track_s = float((track.duration or 0) * tick_s)
    late_s = time_line.locate(float((track.start_time or 0) * tick_s)) or 0.0
    declared_s = (track_s and track_s + late_s, (container.duration or 0) / _MICROSECONDS)
    return next((seconds for seconds in declared_s if seconds > 0), None)
