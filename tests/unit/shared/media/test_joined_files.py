"""Files that were joined byte by byte are read in full."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from shared.audio_format import AudioStart, SeekPoint
from shared.media.decode import decode_audio
from shared.media.joined_files import split_joined
from shared.media.probe import probe_audio
from tests.support.hostile_files import clip
from tests.support.media_files import CLIPS, SPEECH_SAMPLES, encode, make_tone


def decode(path: Path, start: AudioStart | None = None) -> tuple[np.ndarray, list[SeekPoint]]:
    with path.open("rb", buffering=0) as upload:
        found = list(decode_audio(upload, max_audio_s=600, start=start or AudioStart()))
    pcm = b"".join(one for one in found if isinstance(one, bytes))
    return np.frombuffer(pcm, "<i2"), [one for one in found if isinstance(one, SeekPoint)]


def probe(path: Path) -> float:
    with path.open("rb", buffering=0) as upload:
        return probe_audio(upload, max_audio_s=600)


def join(path: Path, *names: str) -> Path:
    path.write_bytes(b"".join(map(clip, names)))
    return path


@pytest.mark.parametrize("name", ["speech.wav", "speech.m4a", "speech.mp4", "speech.webm", "streamed.webm"])
@pytest.mark.parametrize("times", [2, 3])
def test_all_of_joined_files_is_read(tmp_path: Path, name: str, times: int) -> None:
    path = join(tmp_path / "joined", *[name] * times)
    single, _ = decode(CLIPS / name)
    joined, _ = decode(path)
    assert len(joined) == pytest.approx(times * len(single), rel=0.01)
    assert probe(path) == pytest.approx(times * len(single) / 16_000, rel=0.02)
    for begin, end in pairwise(range(0, times * len(single) + 1, len(single))):
        assert np.abs(joined[begin:end].astype(int)).mean() > 300


def test_joined_files_of_other_rates_are_read(tmp_path: Path) -> None:
    other = encode(make_tone(2.0, rate_hz=44_100), tmp_path / "b.wav", codec="pcm_s16le", rate_hz=44_100)
    path = tmp_path / "joined"
    path.write_bytes(clip("speech.wav") + other.read_bytes())
    assert len(decode(path)[0]) == pytest.approx(SPEECH_SAMPLES + 32_000, abs=2)
    assert probe(path) == pytest.approx(SPEECH_SAMPLES / 16_000 + 2)


def test_a_later_start_in_joined_files_gives_exactly_the_tail(tmp_path: Path) -> None:
    first = encode(make_tone(20.0), tmp_path / "a.wav", codec="pcm_s16le")
    path = tmp_path / "joined"
    path.write_bytes(first.read_bytes() + clip("speech.wav"))
    whole, points = decode(path)
    assert points
    for sample in (points[-1].sample, 19 * 16_000, 21 * 16_000):
        assert np.array_equal(decode(path, AudioStart(sample, points[-1]))[0], whole[sample:])


@pytest.mark.parametrize(
    "tail", [b"", b"junk", b"RIFF", b"RIFF\0\0\0\0WAVE", b"\0\0\0\0ftyp", bytes(100)], ids=repr
)
@pytest.mark.parametrize("name", ["speech.wav", "speech.m4a"])
def test_other_bytes_after_a_file_change_nothing(tmp_path: Path, name: str, tail: bytes) -> None:
    path = tmp_path / "upload"
    path.write_bytes(clip(name) + tail)
    assert np.array_equal(decode(path)[0], decode(CLIPS / name)[0])
    assert probe(path) == pytest.approx(probe(CLIPS / name), abs=0.05)


def test_a_single_file_is_not_split(tmp_path: Path) -> None:
    for path in CLIPS.glob("speech.*"):
        with path.open("rb", buffering=0) as upload:
            assert split_joined(upload) == ([upload], False)


@pytest.mark.parametrize("first", ["speech.wav", "speech.m4a", "speech.mp4", "speech.webm"])
@pytest.mark.parametrize("other", ["speech.flac", "speech.ogg", "speech.wav", "speech.m4a"])
def test_other_media_after_a_file_are_noticed(tmp_path: Path, first: str, other: str) -> None:
    path = join(tmp_path / "joined", first, other)
    is_joined = Path(first).suffix == Path(other).suffix or {first, other} == {"speech.m4a", "speech.mp4"}
    with path.open("rb", buffering=0) as upload:
        files, has_more = split_joined(upload)
    assert (len(files) == 2, has_more) == (is_joined, not is_joined)


def test_joined_aiff_files_are_read(tmp_path: Path) -> None:
    path = encode(make_tone(2.0), tmp_path / "a.aiff", codec="pcm_s16be")
    path.write_bytes(path.read_bytes() * 3)
    assert len(decode(path)[0]) == pytest.approx(96_000, abs=2)
    assert probe(path) == pytest.approx(6.0)
