"""The probe: the duration of an upload, found by decoding its beginning and counting its packets."""

import math
from collections.abc import Collection
from contextlib import suppress
from typing import BinaryIO

import numpy as np

from shared.errors import AudioTooLong, UnreadableAudio
from shared.media.ffmpeg_sound import open_sound
from shared.media.joined_files import split_joined
from shared.media.libsndfile_sound import open_soundfile
from shared.media.track_length import TrackMeter

_FIRST_FRAMES = 4_096
_UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's SF_COUNT_MAX
# libsndfile derives the number of samples from the bytes that are there, except in FLAC.
_FIXED_WIDTHS = frozenset(
    {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"}
)


def probe_audio(
    upload: BinaryIO,
    *,
    max_audio_s: float,
    patience_s: float = math.inf,
    audio_track: Collection[str] = (),
) -> float:
    """Return the duration of `upload`, a seekable file, in seconds.

    Counting ends after `patience_s`. From then on the declared duration is accepted, if there is one.
    `audio_track` chooses as in `open_sound`.

    Raises:
        UnreadableAudio: nothing in the upload can be decoded.
        AudioTooLong: the upload holds or declares more than `max_audio_s` of sound.
    """
    meter = TrackMeter(max_audio_s=max_audio_s, patience_s=patience_s)
    first, *others = split_joined(upload).files
    duration_s = None if others or audio_track else _probe_by_libsndfile(upload, meter)
    if duration_s is None:
        duration_s = _measure_s(first, meter, audio_track)
    for other in others:
        with suppress(UnreadableAudio):
            duration_s += _measure_s(other, meter, audio_track)
    if duration_s > max_audio_s:
        raise AudioTooLong(max_audio_s)
    return duration_s


def _measure_s(upload: BinaryIO, meter: TrackMeter, audio_track: Collection[str]) -> float:
    with open_sound(upload, audio_track) as (container, track):
        return meter.measure_s(container, track)


def _probe_by_libsndfile(upload: BinaryIO, meter: TrackMeter) -> float | None:
    with suppress(UnreadableAudio), open_soundfile(upload) as sound:
        is_known = 0 < sound.frames < _UNKNOWN_FRAMES
        # Where the first samples are no numbers, FFmpeg looks for others.
        if is_known and np.isfinite(sound.read(_FIRST_FRAMES, dtype="float64")).any():
            duration_s = float(sound.frames / sound.samplerate)
            if sound.subtype not in _FIXED_WIDTHS or sound.format == "FLAC":
                duration_s = _check_declared_s(upload, duration_s, meter)
            return duration_s
    return None


def _check_declared_s(upload: BinaryIO, declared_s: float, meter: TrackMeter) -> float:
    """Return `declared_s`, or another length if FFmpeg, which will decode the upload, counts another."""
    with suppress(UnreadableAudio), open_sound(upload) as (container, track):
        return meter.measure_s(container, track, known_s=declared_s)
    return declared_s
