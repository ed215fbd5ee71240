"""Every clip is probed and decoded to its last sample. Files without sound are refused with the reason."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from shared.audio_format import AudioStart
from shared.errors import AudioTooLong, UnreadableAudio
from shared.jobs import FailureCode
from shared.media.client import MediaService
from shared.media.pcm_frames import DecodingFailed
from tests.process.media_driver import decode, make_service
from tests.support.media_files import CLIPS, SPEECH_SAMPLES, add_subtitles
from tests.support.probing import probe

# AAC pads the beginning and the end with a frame of 1,024 samples or less each.
PADDING_SAMPLES = 2_048
# The samples by which each clip may be longer.
PADDINGS = {
    "speech.wav": 0,
    "speech.flac": 0,
    "speech.mp3": 0,
    "speech.ogg": 0,
    "speech.opus": 320,
    "speech.m4a": PADDING_SAMPLES,
    "speech.mp4": PADDING_SAMPLES,
    "speech.aac": PADDING_SAMPLES,
    "speech.webm": 320,
    "streamed.webm": 640,
}
BAD_CLIPS = {
    "corrupt.mp3": "not readable audio or video",
    "header_only.wav": "no sound that can be decoded",
    "video_without_sound.mp4": "video has no sound",
}


@pytest.fixture(scope="module")
def service() -> Iterator[MediaService]:
    """Provide a running service."""
    with make_service() as running:
        yield running


@pytest.fixture(scope="module")
def spoken(service: MediaService) -> npt.NDArray[np.float32]:
    """Return the sentence before its encoding."""
    return decode(service, CLIPS / "speech.wav")


def similarity(heard: npt.NDArray[np.float32], spoken: npt.NDArray[np.float32]) -> float:
    """Return the correlation of the two at their best match: 1 for the same sound with any shift."""
    size = len(heard) + len(spoken)
    products = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(spoken, size)), size)
    return float(products.max() / np.sqrt((heard**2).sum() * (spoken**2).sum()))


@pytest.mark.parametrize("clip", PADDINGS)
def test_every_format_is_probed_with_its_duration(service: MediaService, clip: str) -> None:
    tolerance_s = PADDINGS[clip] / 16_000 + 1e-6
    assert probe(service, CLIPS / clip) == pytest.approx(SPEECH_SAMPLES / 16_000, abs=tolerance_s)


@pytest.mark.parametrize("clip", PADDINGS)
def test_every_format_is_decoded_to_the_same_speech(
    service: MediaService, spoken: npt.NDArray[np.float32], clip: str
) -> None:
    heard = decode(service, CLIPS / clip)
    assert len(heard) == pytest.approx(SPEECH_SAMPLES, abs=PADDINGS[clip])
    assert similarity(heard, spoken) > 0.9


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "mov_text"), ("mov", "mov_text"), ("mkv", "srt"), ("mkv", "ass")]
)
def test_sound_beside_a_subtitle_track_is_decoded(
    service: MediaService, tmp_path: Path, suffix: str, codec: str
) -> None:
    film = add_subtitles(CLIPS / "speech.m4a", tmp_path / f"film.{suffix}", codec=codec)
    assert probe(service, film) == pytest.approx(SPEECH_SAMPLES / 16_000, abs=0.15)
    assert len(decode(service, film)) == pytest.approx(SPEECH_SAMPLES, abs=PADDING_SAMPLES)


def test_silence_is_sound(service: MediaService) -> None:
    assert probe(service, CLIPS / "silence.flac") == 2.0
    assert not decode(service, CLIPS / "silence.flac").any()


@pytest.mark.parametrize("clip", BAD_CLIPS)
def test_files_without_sound_are_refused_with_the_reason(service: MediaService, clip: str) -> None:
    with pytest.raises(UnreadableAudio, match=re.escape(BAD_CLIPS[clip])) as caught:
        probe(service, CLIPS / clip)
    assert caught.value.param == "file"
    with pytest.raises(DecodingFailed) as failed:
        decode(service, CLIPS / clip)
    assert failed.value.code is FailureCode.AUDIO_UNDECODABLE


def test_a_missing_file_is_reported_as_missing(service: MediaService, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        probe(service, tmp_path / "gone.wav")
    with pytest.raises(FileNotFoundError):
        decode(service, tmp_path / "gone.wav")


def test_more_sound_than_allowed_is_refused_by_probe_and_decoding() -> None:
    with make_service(max_audio_s=2.0) as strict:
        with pytest.raises(AudioTooLong, match=r"longer than 2 s.*MAX_AUDIO_S"):
            probe(strict, CLIPS / "speech.mp3")
        with pytest.raises(DecodingFailed, match=r"longer than 2 s.*MAX_AUDIO_S") as caught:
            decode(strict, CLIPS / "speech.mp3")
    assert caught.value.code is FailureCode.AUDIO_TOO_LONG


def test_decoding_fails_at_clearly_more_sound_than_declared(service: MediaService) -> None:
    with pytest.raises(DecodingFailed, match=r"more sound than the 1 s") as caught:
        decode(service, CLIPS / "speech.mp3", declared_duration_s=1.0)
    assert caught.value.code is FailureCode.AUDIO_TOO_LONG
    assert len(decode(service, CLIPS / "speech.mp3", declared_duration_s=4.0)) == SPEECH_SAMPLES


@pytest.mark.parametrize("clip", ["speech.wav", "long.ogg"])
def test_decoding_resumes_exactly_at_the_given_sample(service: MediaService, clip: str) -> None:
    whole = decode(service, CLIPS / clip)
    for start_sample in (1, 16_000, 32_001, len(whole) - 1, len(whole)):
        tail = decode(service, CLIPS / clip, start=AudioStart(start_sample))
        assert np.array_equal(tail, whole[start_sample:])


def test_the_manifest_names_every_clip_with_speech_and_all_of_them_are_small() -> None:
    with (CLIPS / "manifest.tsv").open() as manifest:
        rows = list(csv.DictReader(manifest, delimiter="\t"))
    assert {row["file"] for row in rows} == {*PADDINGS, "long.ogg"}
    assert all(row["language"] == "en" and row["text"].endswith(".") for row in rows)
    assert sum(file.stat().st_size for file in CLIPS.iterdir() if file.is_file()) < 600_000
