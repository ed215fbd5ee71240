"""An upload is examined by its content alone, and refused if nothing in it can be decoded."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from shared.errors import AudioTooLong, UnreadableAudio
from shared.media.decode import decode_audio
from shared.media.probe import probe_audio
from tests.support.hostile_files import clip, cut, write_silent_flac, write_wav_header
from tests.support.media_files import CLIPS, damage, encode, make_tone, only_samples, repeat_clip


def probe(path: Path, *, max_audio_s: float = 3600.0) -> float:
    """Return the duration of the file."""
    with path.open("rb", buffering=0) as file:
        return probe_audio(file, max_audio_s=max_audio_s)


def copy_clip(name: str, path: Path) -> Path:
    """Return a copy that may be damaged."""
    path.write_bytes((CLIPS / name).read_bytes())
    return path


def test_the_name_of_a_file_means_nothing(tmp_path: Path) -> None:
    assert probe(copy_clip("speech.mp4", tmp_path / "song.wav")) == probe(CLIPS / "speech.mp4")
    assert probe(copy_clip("speech.wav", tmp_path / "page.html")) == probe(CLIPS / "speech.wav")


@pytest.mark.parametrize("name", ["speech.aac", "streamed.webm"])
def test_a_stream_without_a_header_is_measured_to_its_end(name: str) -> None:
    assert probe(CLIPS / name) == pytest.approx(4.115, abs=0.15)


def test_a_long_stream_without_a_header_is_measured_exactly(tmp_path: Path) -> None:
    path = repeat_clip("speech.aac", tmp_path / "long.aac", times=50)
    assert probe(path) == pytest.approx(50 * 4.224, abs=0.1)


def test_another_rate_and_more_channels_are_counted_right(tmp_path: Path) -> None:
    path = tmp_path / "tone.flac"
    soundfile.write(path, make_tone(1.0, rate_hz=44_100).reshape(-1, 2), 44_100)
    assert probe(path) == 0.5


@pytest.mark.parametrize(
    ("content", "duration_s"),
    [
        (write_silent_flac(200, declared_samples=16_000), 200),
        (write_silent_flac(200, declared_samples=0), 200),
        (clip("speech.ogg") * 5, 20.6),
        (clip("speech.opus") * 5, 20.6),
        (clip("speech.mp3") * 5, 21.1),
        (clip("speech.flac") * 2, 8.23),
        (write_wav_header(bytes(640_000), data_bytes=0xFFFFFFFF), 20),
        (write_wav_header(bytes(640_000), data_bytes=0), 20),
        (write_wav_header(bytes(640_000), data_bytes=6_400_000), 20),
    ],
    ids=["flac", "no length", "ogg", "opus", "mp3", "two flacs", "piped", "piped as nothing", "cut wav"],
)
def test_the_counted_duration_wins_over_the_declared_one(
    tmp_path: Path, content: bytes, duration_s: float
) -> None:
    path = tmp_path / "upload"
    path.write_bytes(content)
    assert probe(path) == pytest.approx(duration_s, abs=0.5)


@pytest.mark.parametrize("name", ["speech.flac", "speech.mp3", "speech.ogg", "speech.webm", "speech.aac"])
def test_half_a_file_is_as_long_as_its_decodable_sound(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(cut(name))
    with path.open("rb") as file:
        decoded_s = sum(map(len, only_samples(decode_audio(file, max_audio_s=60)))) / 32_000
    assert 0.9 < decoded_s < 3
    assert probe(path) == pytest.approx(decoded_s, abs=0.2)


@pytest.mark.parametrize("rates_hz", [(16_000, 44_100), (44_100, 16_000)])
def test_a_rate_that_changes_in_the_middle_is_counted(tmp_path: Path, rates_hz: tuple[int, int]) -> None:
    both = tmp_path / "both.aac"
    for rate_hz in rates_hz:
        tone = make_tone(3.0, rate_hz=rate_hz)
        half = encode(tone, tmp_path / f"{rate_hz}.aac", codec="aac", rate_hz=rate_hz)
        with both.open("ab") as file:
            file.write(half.read_bytes())
    assert probe(both) == pytest.approx(6.0, abs=0.3)


def test_without_time_to_count_the_declared_duration_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(write_silent_flac(200, declared_samples=16_000))
    with path.open("rb", buffering=0) as file:
        assert probe_audio(file, max_audio_s=60, patience_s=0) == 1
    with (CLIPS / "speech.aac").open("rb", buffering=0) as file:
        assert probe_audio(file, max_audio_s=60, patience_s=0) == pytest.approx(4.2, abs=0.1)


def test_exactly_the_limit_is_not_too_long() -> None:
    assert probe(CLIPS / "speech.wav", max_audio_s=4.115) == 4.115


@pytest.mark.parametrize("name", ["speech.wav", "speech.mp3", "speech.m4a", "speech.aac", "streamed.webm"])
def test_more_than_the_limit_is_too_long(name: str) -> None:
    with pytest.raises(AudioTooLong, match="MAX_AUDIO_S"):
        probe(CLIPS / name, max_audio_s=4.0)


def test_a_good_header_followed_by_garbage_is_refused(tmp_path: Path) -> None:
    m4a = copy_clip("speech.m4a", tmp_path / "speech.m4a")
    content = m4a.read_bytes()
    damage(m4a, begin=content.index(b"mdat") + 4, end=content.index(b"moov") - 4)
    flac = copy_clip("speech.flac", tmp_path / "speech.flac")
    damage(flac, begin=42, end=flac.stat().st_size)
    for path in (m4a, flac):
        with pytest.raises(UnreadableAudio, match="no sound that can be decoded"):
            probe(path)


def test_damage_at_the_beginning_does_not_hide_the_sound_after_it(tmp_path: Path) -> None:
    path = copy_clip("speech.aac", tmp_path / "speech.aac")
    assert probe(damage(path, begin=0, end=600)) == pytest.approx(4.0, abs=0.3)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Hello, this is a letter and no sound.\n" * 100,
        b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n%s\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile %s\n",
        b'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>%s</BaseURL></MPD>',
    ],
    ids=["nothing", "text", "an HLS playlist", "a list of files", "a DASH manifest"],
)
def test_files_without_media_or_with_references_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "upload"
    path.write_bytes(content.replace(b"%s", str(CLIPS / "speech.aac").encode()))
    with pytest.raises(UnreadableAudio, match="not readable audio or video"):
        probe(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("form", "codec"), [("WAV", "FLOAT"), ("CAF", "DOUBLE"), ("AIFF", "FLOAT")])
def test_a_file_of_broken_samples_is_refused(tmp_path: Path, value: float, form: str, codec: str) -> None:
    path = tmp_path / "upload"
    soundfile.write(path, np.full(32_000, value), 16_000, format=form, subtype=codec)
    with pytest.raises(UnreadableAudio, match="samples of this file are broken"):
        probe(path)


@pytest.mark.parametrize("good", [0, 6_000, 31_999])
def test_one_number_among_broken_samples_is_sound(tmp_path: Path, good: int) -> None:
    path = tmp_path / "upload"
    samples = np.full(32_000, np.nan)
    samples[good] = 0.1
    soundfile.write(path, samples, 16_000, format="WAV", subtype="FLOAT")
    assert probe(path) == pytest.approx(2.0)


@pytest.mark.parametrize("name", ["speech.m4a", "speech.mp4"])
def test_an_mp4_without_its_index_is_cut_short(tmp_path: Path, name: str) -> None:
    path = tmp_path / "upload"
    content = encode(make_tone(3.0), tmp_path / f"late.{name[-3:]}", codec="aac").read_bytes()
    path.write_bytes(content[: content.index(b"moov") - 4])
    with pytest.raises(UnreadableAudio, match="mp4 or m4a file is cut short"):
        probe(path)


def test_a_webm_without_its_head_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    content = clip("streamed.webm")
    for piece in (content[content.index(b"\x1f\x43\xb6\x75") :], content[40:], content[:60]):
        path.write_bytes(piece)
        with pytest.raises(UnreadableAudio, match="webm or mkv file is cut short"):
            probe(path)


def test_samples_without_a_header_need_one(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes((make_tone(1.0) * 20_000).astype("<i2").tobytes())
    with pytest.raises(UnreadableAudio, match="Raw samples need a header"):
        probe(path)


def test_a_video_without_sound_is_refused_as_such() -> None:
    with pytest.raises(UnreadableAudio, match="video has no sound"):
        probe(CLIPS / "video_without_sound.mp4")


def test_an_encoding_that_is_not_on_the_list_is_refused(tmp_path: Path) -> None:
    path = encode(make_tone(1.0, rate_hz=22_050), tmp_path / "tone.flv", codec="nellymoser", rate_hz=22_050)
    with pytest.raises(UnreadableAudio, match="encoding"):
        probe(path)


def test_tags_in_a_foreign_encoding_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "speech.m4a"
    path.write_bytes((CLIPS / "speech.m4a").read_bytes().replace(b"SoundHandler", b"\xdcberschrift\xe4"))
    assert probe(path) == probe(CLIPS / "speech.m4a")
