"""The speech that engines transcribe: recordings of people in SPEECH_DIR, or the tests' synthetic voice."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from shared.audio_format import SAMPLE_RATE_HZ
from shared.media.decode import decode_audio
from tests.support.audio import write_pcm
from tests.support.joined_speech import JoinedSpeech, Recording
from tests.support.media_files import CLIPS, only_samples

_BYTES_PER_S = 2 * SAMPLE_RATE_HZ
_NEAR_S = 0.6
_MAX_AUDIO_S = 600.0
_SYNTHETIC = ("speech.wav", "long.ogg")  # the other clips hold the same sentence


@dataclass(frozen=True)
class Speech:
    """English recordings; `source` describes them."""

    recordings: Sequence[Recording]
    source: str

    def cut_clip(self, length_s: float) -> bytes:
        """Return a WAV file of about `length_s`: one recording of that length, or the start of several."""
        near = min(self.recordings, key=lambda one: abs(_seconds(one) - length_s))
        if abs(_seconds(near) - length_s) <= _NEAR_S:
            return write_pcm(near.pcm)
        pcm = b"".join(one.pcm for one in self._repeat(length_s))
        return write_pcm(pcm[: round(length_s * SAMPLE_RATE_HZ) * 2])

    def join_file(self, length_s: float) -> JoinedSpeech:
        """Return a WAV file of whole recordings, as near to `length_s` as they allow, with its text."""
        near = min(self.recordings, key=lambda one: abs(_seconds(one) - length_s))
        taken = [near] if abs(_seconds(near) - length_s) <= _NEAR_S else self._fit(length_s)
        pcm = b"".join(one.pcm for one in taken)
        return JoinedSpeech(write_pcm(pcm), " ".join(one.text for one in taken))

    def _fit(self, length_s: float) -> Sequence[Recording]:
        """Return recordings in turns, without those that are too long for the rest."""
        taken: list[Recording] = []
        shortest = min(self.recordings, key=_seconds)
        while length_s >= _seconds(shortest):
            for one in self.recordings:
                if _seconds(one) <= length_s:
                    taken.append(one)
                    length_s -= _seconds(one)
        is_nearer_with_one_more = length_s > _seconds(shortest) / 2
        return [*taken, shortest] if is_nearer_with_one_more or not taken else taken

    def _repeat(self, length_s: float) -> Iterator[Recording]:
        taken_s = 0.0
        for one in cycle(self.recordings):
            if taken_s >= length_s:
                return
            yield one
            taken_s += _seconds(one)


def read_speech(folder: Path | None) -> Speech:
    """Return the English recordings that the manifest of `folder` lists, or the synthetic voice."""
    recordings = _read(CLIPS, "text", _SYNTHETIC) if folder is None else _read(folder, "reference")
    return Speech([*recordings], describe_source(folder))


def describe_source(folder: Path | None) -> str:
    """Return the kind of speech, without its place on this machine."""
    return "the synthetic voice of the tests" if folder is None else "recordings of people"


def _read(folder: Path, column: str, names: Sequence[str] = ()) -> Iterator[Recording]:
    with (folder / "manifest.tsv").open(encoding="utf-8", newline="") as manifest:
        rows = list(csv.DictReader(manifest, delimiter="\t", quoting=csv.QUOTE_NONE))
    for row in rows:
        is_wanted = row["file"] in names if names else (folder / row["file"]).exists()
        if row["language"] == "en" and row[column] and is_wanted:
            with (folder / row["file"]).open("rb") as file:
                yield Recording(
                    b"".join(only_samples(decode_audio(file, max_audio_s=_MAX_AUDIO_S))), row[column]
                )


def measure_s(file: bytes) -> float:
    """Return the seconds of a WAV file that this module wrote."""
    return len(file) / _BYTES_PER_S


def _seconds(recording: Recording) -> float:
    return len(recording.pcm) / _BYTES_PER_S
