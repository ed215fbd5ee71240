"""The probe: format and length of an upload, found by decoding its beginning and counting its packets."""

import math
from contextlib import suppress
from typing import BinaryIO

from shared.errors import AudioTooLong, UnreadableAudio
from shared.media.ffmpeg_sound import open_sound
from shared.media.libsndfile_sound import open_soundfile
from shared.media.messages import AudioProbe
from shared.media.track_length import TrackMeter

_FIRST_FRAMES = 4_096
_UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's SF_COUNT_MAX
# libsndfile derives the number of samples from the bytes that are there, except in FLAC.
_FIXED_WIDTHS = frozenset(
    {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"}
)
_CONTAINER_NAMES = {"mov": "mp4", "wavex": "wav"}


def probe_audio(upload: BinaryIO, *, max_audio_s: float, patience_s: float = math.inf) -> AudioProbe:
    """Examine `upload`, a seekable file.

    Counting ends after `patience_s`. From then on the declared duration is accepted, if there is one.

    Raises:
        UnreadableAudio: nothing in the upload can be decoded.
        AudioTooLong: the upload holds or declares more than `max_audio_s` of sound.
    """
    meter = TrackMeter(max_audio_s=max_audio_s, patience_s=patience_s)
    probe = _probe_by_libsndfile(upload, meter) or _probe_by_ffmpeg(upload, meter)
    if probe.duration_s > max_audio_s:
        raise AudioTooLong(max_audio_s)
    return probe


def _probe_by_libsndfile(upload: BinaryIO, meter: TrackMeter) -> AudioProbe | None:
    with suppress(UnreadableAudio), open_soundfile(upload) as sound:
        is_known = 0 < sound.frames < _UNKNOWN_FRAMES
        if is_known and len(sound.read(_FIRST_FRAMES, dtype="float32", always_2d=True)):
            duration_s = sound.frames / sound.samplerate
            if sound.subtype not in _FIXED_WIDTHS or sound.format == "FLAC":
                duration_s = _check_declared_s(upload, duration_s, meter)
            return AudioProbe(
                duration_s=duration_s,
                container=_name_container(sound.format.lower()),
                sample_rate_hz=sound.samplerate,
                channels=sound.channels,
            )
    return None


def _check_declared_s(upload: BinaryIO, declared_s: float, meter: TrackMeter) -> float:
    """Return `declared_s`, or another length if FFmpeg, which will decode the upload, counts another."""
    with suppress(UnreadableAudio), open_sound(upload) as (container, track):
        return meter.measure_s(container, track, known_s=declared_s)
    return declared_s


def _probe_by_ffmpeg(upload: BinaryIO, meter: TrackMeter) -> AudioProbe:
    with open_sound(upload) as (container, track):
        return AudioProbe(
            duration_s=meter.measure_s(container, track),
            container=_name_container(container.format.name),
            sample_rate_hz=track.codec_context.sample_rate,
            channels=track.codec_context.channels,
        )


def _name_container(name: str) -> str:
    """Return one name, also if the library lists several, such as `mov,mp4,m4a,3gp,3g2,mj2`."""
    first = name.partition(",")[0]
    return _CONTAINER_NAMES.get(first, first)
