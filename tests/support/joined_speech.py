"""Recordings joined to a file of about a minute, with what is said in it."""

import csv
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from shared.media.decode import decode_audio
from shared.media.pcm_frames import SAMPLE_BYTES
from tests.support.audio import SAMPLE_RATE_HZ, write_pcm
from tests.support.media_files import only_samples

LENGTH_S = 60.0
_MAX_RECORDING_S = 15.0


class JoinedSpeech(NamedTuple):
    """A WAV file and its text."""

    file: bytes
    text: str


class Recording(NamedTuple):
    """Samples as signed 16-bit little-endian mono PCM at 16 kHz, and their text."""

    pcm: bytes
    text: str


def read_recordings(folder: Path, *, text_column: str, language: str = "en") -> list[Recording]:
    """Those in `language` that the manifest of `folder` lists, but for silence and what is over 15 s long."""
    with (folder / "manifest.tsv").open(encoding="utf-8", newline="") as manifest:
        rows = list(csv.DictReader(manifest, delimiter="\t", quoting=csv.QUOTE_NONE))
    found = (_read(folder / row["file"], row[text_column]) for row in rows if row["language"] == language)
    return [some for some in found if some.text and len(some.pcm) <= _MAX_RECORDING_S * _BYTES_PER_S]


def join_recordings(
    recordings: Sequence[Recording], *, first: int = 0, length_s: float = LENGTH_S
) -> JoinedSpeech:
    """`recordings` from the one of index `first` on, again and again until there is so much."""
    taken = list(_take(cycle([*recordings[first:], *recordings[:first]]), length_s))
    pcm = b"".join(recording.pcm for recording in taken)
    return JoinedSpeech(write_pcm(pcm), " ".join(recording.text for recording in taken))


def _take(recordings: Iterator[Recording], length_s: float) -> Iterator[Recording]:
    taken_bytes = 0
    while taken_bytes < length_s * _BYTES_PER_S:
        recording = next(recordings)
        yield recording
        taken_bytes += len(recording.pcm)


def _read(path: Path, text: str) -> Recording:
    with path.open("rb") as file:
        return Recording(b"".join(only_samples(decode_audio(file, max_audio_s=600))), text)


_BYTES_PER_S = SAMPLE_RATE_HZ * SAMPLE_BYTES
