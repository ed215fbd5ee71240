"""Any sound is decoded to 16 kHz mono, up to its last decodable sample."""

import math
import wave
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from shared.audio_format import AudioStart
from shared.errors import AudioTooLong, UnreadableAudio
from shared.media.decode import DeclaredDurationExceeded, decode_audio
from shared.media.probe import probe_audio
from tests.support.hostile_files import SPOKEN_CLIPS
from tests.support.media_files import CLIPS, SPEECH_SAMPLES, damage, encode, make_tone, only_samples


def decode(path: Path, *, max_audio_s: float = 3600.0, start_sample: int = 0) -> npt.NDArray[np.int16]:
    """Return all samples that are decoded from the file."""
    with path.open("rb", buffering=0) as file:
        found = list(decode_audio(file, max_audio_s=max_audio_s, start=AudioStart(start_sample)))
    return np.frombuffer(b"".join(only_samples(found)), dtype="<i2")


def loudest_hz(samples: npt.NDArray[np.int16]) -> float:
    """Return the strongest frequency in samples at 16 kHz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * 16_000 / len(samples))


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("count", [1_000, 12_345, 50_000])
def test_every_rate_is_resampled_to_the_last_sample(tmp_path: Path, rate_hz: int, count: int) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, make_tone(count / rate_hz, rate_hz=rate_hz), rate_hz)
    decoded = decode(path)
    assert len(decoded) == pytest.approx(count * 16_000 / rate_hz, abs=1)
    assert loudest_hz(decoded) == pytest.approx(440, abs=16_000 / len(decoded))


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8, 24, 96])
def test_channels_are_mixed_down(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.tile(make_tone(1.0)[:, None], channels), 16_000)
    decoded = decode(path)
    assert len(decoded) == 16_000
    assert loudest_hz(decoded) == pytest.approx(440, abs=1)
    assert decoded.max() > 4_000


def test_16_bit_16_khz_mono_is_decoded_bit_by_bit() -> None:
    with wave.open(str(CLIPS / "speech.wav")) as clip:
        written = np.frombuffer(clip.readframes(clip.getnframes()), dtype="<i2")
    assert np.array_equal(decode(CLIPS / "speech.wav"), written)
    assert np.array_equal(decode(CLIPS / "speech.flac"), written)


@pytest.mark.parametrize("clip", ["speech.wav", "speech.mp3", "speech.aac", "speech.webm"])
@pytest.mark.parametrize("start_sample", [1, 1_023, 30_000, SPEECH_SAMPLES - 1])
def test_a_later_start_gives_exactly_the_tail(clip: str, start_sample: int) -> None:
    tail = decode(CLIPS / clip, start_sample=start_sample)
    assert np.array_equal(tail, decode(CLIPS / clip)[start_sample:])


def test_a_start_after_the_end_gives_nothing() -> None:
    assert len(decode(CLIPS / "speech.wav", start_sample=SPEECH_SAMPLES)) == 0
    assert len(decode(CLIPS / "speech.wav", start_sample=10 * SPEECH_SAMPLES)) == 0


@pytest.mark.parametrize("clip", ["speech.mp3", "speech.aac", "speech.flac", "speech.m4a", "speech.ogg"])
def test_damage_in_the_middle_costs_only_what_was_damaged(tmp_path: Path, clip: str) -> None:
    path = tmp_path / clip
    content = (CLIPS / clip).read_bytes()
    path.write_bytes(content)
    middle, lost = len(content) // 2, len(content) // 20
    decoded = decode(damage(path, begin=middle, end=middle + lost))
    assert 0.6 * SPEECH_SAMPLES < len(decoded) < 1.1 * SPEECH_SAMPLES


def test_a_rate_that_changes_in_the_middle_is_followed(tmp_path: Path) -> None:
    slow = encode(make_tone(1.0), tmp_path / "slow.aac", codec="aac", rate_hz=16_000)
    fast = encode(make_tone(1.0, rate_hz=44_100), tmp_path / "fast.aac", codec="aac", rate_hz=44_100)
    both = tmp_path / "both.aac"
    both.write_bytes(slow.read_bytes() + fast.read_bytes())
    decoded = decode(both)
    assert len(decoded) == pytest.approx(32_000, abs=4_000)
    for half in (decoded[2_000:14_000], decoded[20_000:30_000]):
        assert loudest_hz(half) == pytest.approx(440, abs=2)


def test_a_file_in_which_nothing_decodes_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "speech.m4a"
    content = (CLIPS / "speech.m4a").read_bytes()
    path.write_bytes(content)
    damage(path, begin=content.index(b"mdat") + 4, end=content.index(b"moov") - 4)
    for unreadable in (path, CLIPS / "corrupt.mp3", CLIPS / "header_only.wav"):
        with pytest.raises(UnreadableAudio):
            decode(unreadable)


@pytest.mark.parametrize("clip", ["speech.wav", "speech.aac", "streamed.webm"])
def test_more_sound_than_is_allowed_is_refused(clip: str) -> None:
    with pytest.raises(AudioTooLong):
        decode(CLIPS / clip, max_audio_s=2.0)


@pytest.mark.parametrize("declared_duration_s", [0.1, 2.5])
def test_clearly_more_sound_than_declared_ends_with_an_error(declared_duration_s: float) -> None:
    heard = bytearray()
    with (CLIPS / "speech.wav").open("rb", buffering=0) as file:
        pcm = decode_audio(file, max_audio_s=60, declared_duration_s=declared_duration_s)
        with pytest.raises(DeclaredDurationExceeded, match="declare"):
            heard.extend(chain.from_iterable(only_samples(pcm)))
    assert len(heard) / 32_000 <= 1.1 * declared_duration_s + 1


@pytest.mark.parametrize("name", SPOKEN_CLIPS)
def test_decoding_accepts_the_duration_of_the_probe(tmp_path: Path, name: str) -> None:
    for times in (1, 20):
        path = tmp_path / f"{times}"
        path.write_bytes((CLIPS / name).read_bytes() * times)
        with path.open("rb", buffering=0) as file:
            declared_duration_s = probe_audio(file, max_audio_s=3_600)
            found = decode_audio(file, max_audio_s=3_600, declared_duration_s=declared_duration_s)
            decoded_s = sum(map(len, only_samples(found))) / 32_000
        assert decoded_s == pytest.approx(declared_duration_s, rel=0.05, abs=0.1)


def test_the_padding_of_a_decoder_is_not_more_sound_than_is_allowed() -> None:
    assert len(decode(CLIPS / "speech.m4a", max_audio_s=SPEECH_SAMPLES / 16_000)) > SPEECH_SAMPLES


def test_a_wav_whose_header_was_never_completed_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "recording.wav"
    content = (CLIPS / "speech.wav").read_bytes()
    for size in (bytes(4), b"\xff" * 4):
        path.write_bytes(content[:40] + size + content[44:])
        assert math.isclose(len(decode(path)), SPEECH_SAMPLES, abs_tol=1)
