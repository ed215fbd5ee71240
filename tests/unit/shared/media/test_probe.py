"""An upload is known by its content alone, and refused where nothing in it can be decoded."""

from pathlib import Path

import pytest
import soundfile

from shared.errors import AudioTooLong, UnreadableAudio
from shared.media.messages import AudioProbe
from shared.media.probe import probe_audio
from tests.fakes.media_files import CLIPS, damage, encode, make_tone, repeat_clip


def probe(path: Path, *, max_audio_s: float = 3600.0) -> AudioProbe:
    """What the file is."""
    with path.open("rb", buffering=0) as file:
        return probe_audio(file, max_audio_s=max_audio_s)


def copy_clip(name: str, path: Path) -> Path:
    """A copy that may be damaged."""
    path.write_bytes((CLIPS / name).read_bytes())
    return path


def test_the_name_of_a_file_means_nothing(tmp_path: Path) -> None:
    assert probe(copy_clip("speech.mp4", tmp_path / "song.wav")).container == "mp4"
    assert probe(copy_clip("speech.wav", tmp_path / "page.html")).container == "wav"


@pytest.mark.parametrize("clip", ["speech.aac", "streamed.webm"])
def test_a_stream_without_a_header_is_measured_to_its_end(tmp_path: Path, clip: str) -> None:
    assert probe(CLIPS / clip).duration_s == pytest.approx(4.115, abs=0.15)


def test_a_long_stream_without_a_header_is_measured_exactly(tmp_path: Path) -> None:
    path = repeat_clip("speech.aac", tmp_path / "long.aac", times=50)
    assert probe(path).duration_s == pytest.approx(50 * 4.224, abs=0.1)


def test_rate_and_channels_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "tone.flac"
    soundfile.write(path, make_tone(1.0, rate_hz=44_100).reshape(-1, 2), 44_100)
    probed = probe(path)
    assert (probed.sample_rate_hz, probed.channels, probed.duration_s) == (44_100, 2, 0.5)


def test_exactly_the_limit_is_not_too_long() -> None:
    assert probe(CLIPS / "speech.wav", max_audio_s=4.115).duration_s == 4.115


@pytest.mark.parametrize("clip", ["speech.wav", "speech.mp3", "speech.m4a", "speech.aac", "streamed.webm"])
def test_more_than_the_limit_is_too_long(clip: str) -> None:
    with pytest.raises(AudioTooLong, match="MAX_AUDIO_S"):
        probe(CLIPS / clip, max_audio_s=4.0)


def test_a_good_header_with_garbage_behind_it_is_refused(tmp_path: Path) -> None:
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
    assert probe(damage(path, begin=0, end=600)).duration_s == pytest.approx(4.0, abs=0.3)


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
def test_what_is_no_media_or_points_to_other_files_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "upload"
    path.write_bytes(content.replace(b"%s", str(CLIPS / "speech.aac").encode()))
    with pytest.raises(UnreadableAudio, match="no audio or video that can be read"):
        probe(path)


def test_a_video_without_sound_is_told_so() -> None:
    with pytest.raises(UnreadableAudio, match="video has no sound"):
        probe(CLIPS / "video_without_sound.mp4")


def test_an_encoding_that_is_not_on_the_list_is_refused(tmp_path: Path) -> None:
    path = encode(make_tone(1.0, rate_hz=22_050), tmp_path / "tone.flv", codec="nellymoser", rate_hz=22_050)
    with pytest.raises(UnreadableAudio, match="encoding"):
        probe(path)


def test_tags_in_an_encoding_of_their_own_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "speech.m4a"
    path.write_bytes((CLIPS / "speech.m4a").read_bytes().replace(b"SoundHandler", b"\xdcberschrift\xe4"))
    assert probe(path).container == "mp4"
