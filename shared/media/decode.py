"""Decoding of an upload to 16 kHz mono samples, frame by frame, in constant memory."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import BinaryIO

from shared.audio_format import FROM_THE_START, SAMPLE_RATE_HZ, AudioStart, SeekPoint
from shared.errors import AudioTooLong, UnreadableAudio
from shared.media.ffmpeg_sound import NO_SOUND
from shared.media.libsndfile_sound import read_blocks
from shared.media.messages import DECODER_PADDING_S, limit_decoded_s
from shared.media.pcm_frames import SAMPLE_BYTES
from shared.media.resampling import Resampling, describe_kind, make_silence
from shared.media.seeking import SeekFailed, SeekPointFinder, SoundPiece, read_sound
from shared.media.time_line import find_hole_s


class DeclaredDurationExceeded(Exception):
    """Raised by `decode_audio` if the upload holds clearly more sound than the probe reported."""

    def __init__(self, declared_duration_s: float) -> None:
        super().__init__(
            f"The file holds more sound than the {declared_duration_s:g} s that its header and packets "
            "declare. Convert it to wav, flac or mp3 and send it again."
        )


def decode_audio(
    upload: BinaryIO,
    *,
    max_audio_s: float,
    declared_duration_s: float | None = None,
    start: AudioStart = FROM_THE_START,
    audio_track: Collection[str] = (),
) -> Iterator[bytes | SeekPoint]:
    """Yield the sound of `upload` from `start` on, as signed 16-bit little-endian mono at 16 kHz.

    Now and then comes a seek point, before the samples to which it leads. `declared_duration_s` is the
    duration that the probe reported, if there was a probe. `audio_track` chooses as in `open_sound`.

    Raises:
        UnreadableAudio: nothing in the upload can be decoded.
        AudioTooLong: the upload holds more than `max_audio_s` of sound, whatever its header declares.
        DeclaredDurationExceeded: the upload holds clearly more sound than `declared_duration_s`.
    """
    decoded = 0
    for found in _read_pcm(upload, start, audio_track):
        if isinstance(found, SeekPoint):
            yield found
            continue
        decoded, pcm = found
        decoded_s = decoded / SAMPLE_RATE_HZ
        if decoded_s > max_audio_s + DECODER_PADDING_S:
            raise AudioTooLong(max_audio_s)
        if declared_duration_s and decoded_s > limit_decoded_s(declared_duration_s):
            raise DeclaredDurationExceeded(declared_duration_s)
        wanted = max(0, decoded - start.sample) * SAMPLE_BYTES
        if wanted:
            yield pcm[-wanted:]
    if decoded == 0:
        raise UnreadableAudio(NO_SOUND)


def _read_pcm(
    upload: BinaryIO, start: AudioStart, audio_track: Collection[str]
) -> Iterator[tuple[int, bytes] | SeekPoint]:
    """Return the sound in the first way that yields any. Samples come with the number at their end."""
    for pcm in _list_ways(upload, start, audio_track):
        with suppress(UnreadableAudio, SeekFailed):
            if (first := next(pcm, None)) is not None:
                return chain((first,), pcm)
    return iter(())


def _list_ways(
    upload: BinaryIO, start: AudioStart, audio_track: Collection[str]
) -> Iterator[Iterator[tuple[int, bytes] | SeekPoint]]:
    """Yield the ways to read: from the seek point, from the start, by libsndfile (32 channels or more)."""
    point = start.seek_point
    if point and point.sample <= start.sample:
        entered = read_sound(upload, point, audio_track=audio_track)
        yield _resample(entered, Resampling(given=point.given, began_at=point.began_at))
    yield _resample(read_sound(upload, audio_track=audio_track), Resampling())
    yield _resample(map(SoundPiece, read_blocks(upload)), Resampling())


def _resample(
    pieces: Iterable[SoundPiece], resampling: Resampling
) -> Iterator[tuple[int, bytes] | SeekPoint]:
    """Yield samples with the number of samples up to their end, and the seek points between them.

    Silence fills the holes between the pieces, so that each sample is at its place on the time line.
    """
    finder = SeekPointFinder(resampling)
    for piece, following_s in _look_ahead(pieces):
        if (point := finder.find(piece)) is not None:
            yield point
        first = piece.frames[0]
        position_s = resampling.find_position(describe_kind(first)) / SAMPLE_RATE_HZ
        silence = make_silence(first, find_hole_s(piece.begin_s, following_s, position_s))
        for frame in chain(silence, piece.frames):
            for pcm in resampling.add(frame):
                yield resampling.written, pcm
    for pcm in resampling.finish():
        yield resampling.written, pcm


def _look_ahead(pieces: Iterable[SoundPiece]) -> Iterator[tuple[SoundPiece, float | None]]:
    """Yield each piece with the time at which the next one begins."""
    held = None
    for piece in pieces:
        if held is not None:
            yield held, piece.begin_s
        held = piece
    if held is not None:
        yield held, None
