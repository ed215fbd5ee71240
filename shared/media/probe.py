"""What an upload is and how long it lasts, found out without decoding more than its beginning."""

from contextlib import suppress
from typing import BinaryIO

from av.audio.stream import AudioStream
from av.container import InputContainer

from shared.errors import AudioTooLong, UnreadableAudio
from shared.media.ffmpeg_sound import NO_SOUND, decode_packet, open_sound, read_packets
from shared.media.libsndfile_sound import open_soundfile
from shared.media.messages import AudioProbe

_FIRST_FRAMES = 4_096
_UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's SF_COUNT_MAX
# Streams without a header: FFmpeg guesses their length from the bit rate, often wrongly.
_HEADERLESS = frozenset({"aac", "ac3", "amr", "eac3", "mp3"})
_MICROSECONDS = 1_000_000
_CONTAINER_NAMES = {"mov": "mp4", "wavex": "wav"}


def probe_audio(upload: BinaryIO, *, max_audio_s: float) -> AudioProbe:
    """Examine `upload`, a seekable file, and decode its first sound.

    Raises:
        UnreadableAudio: nothing in it can be decoded.
        AudioTooLong: it holds, or says it holds, more than `max_audio_s` of sound.
    """
    probe = _probe_by_libsndfile(upload) or _probe_by_ffmpeg(upload, max_audio_s)
    if probe.duration_s > max_audio_s:
        raise AudioTooLong(max_audio_s)
    return probe


def _probe_by_libsndfile(upload: BinaryIO) -> AudioProbe | None:
    with suppress(UnreadableAudio), open_soundfile(upload) as sound:
        is_known = 0 < sound.frames < _UNKNOWN_FRAMES
        if is_known and len(sound.read(_FIRST_FRAMES, dtype="float32", always_2d=True)):
            return AudioProbe(
                duration_s=sound.frames / sound.samplerate,
                container=_name_container(sound.format.lower()),
                sample_rate_hz=sound.samplerate,
                channels=sound.channels,
            )
    return None


def _probe_by_ffmpeg(upload: BinaryIO, max_audio_s: float) -> AudioProbe:
    with open_sound(upload) as (container, track):
        return AudioProbe(
            duration_s=_measure_duration_s(container, track, max_audio_s),
            container=_name_container(container.format.name),
            sample_rate_hz=track.codec_context.sample_rate,
            channels=track.codec_context.channels,
        )


def _name_container(name: str) -> str:
    """One name where the libraries give several, as `mov,mp4,m4a,3gp,3g2,mj2`."""
    first = name.partition(",")[0]
    return _CONTAINER_NAMES.get(first, first)


def _measure_duration_s(container: InputContainer, track: AudioStream, max_audio_s: float) -> float:
    """The length the header tells, once something was decoded; else that of all packets together."""
    told_s = _told_duration_s(container, track)
    tick_s = float(track.time_base or 0)
    ticks = 0
    is_sound = False
    for packet in read_packets(container, track):
        ticks += max(packet.duration or 0, 0)
        is_sound = is_sound or bool(decode_packet(packet))
        if is_sound and told_s is not None:
            return told_s
        if ticks * tick_s > max_audio_s:
            raise AudioTooLong(max_audio_s)
    if not is_sound:
        raise UnreadableAudio(NO_SOUND)
    return ticks * tick_s


def _told_duration_s(container: InputContainer, track: AudioStream) -> float | None:
    """What the header says of the sound track, or else of the file; None where it says nothing sensible."""
    if container.format.name in _HEADERLESS:
        return None
    told_s = (
        float((track.duration or 0) * (track.time_base or 0)),
        (container.duration or 0) / _MICROSECONDS,
    )
    return next((seconds for seconds in told_s if seconds > 0), None)
