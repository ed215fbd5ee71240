"""Of several sound tracks, the default one that can be decoded is read, or the one that a client names."""

from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.stream import Disposition

from shared.errors import UnreadableAudio
from shared.media.decode import decode_audio
from shared.media.probe import probe_audio
from tests.support.media_files import only_samples

RATE_HZ = 16_000


class Track(NamedTuple):
    """A sound track. Tests tell tracks apart by their lengths."""

    seconds: int
    codec: str = "flac"
    language: str = "und"
    is_default: bool = False


def write_film(path: Path, *tracks: Track) -> Path:
    with av.open(path, "w", options={"default_mode": "passthrough"}) as container:
        streams = []
        for track in tracks:
            stream = container.add_stream(track.codec, rate=RATE_HZ, layout="mono")
            assert isinstance(stream, AudioStream)
            stream.metadata["language"] = track.language
            stream.disposition = Disposition.default if track.is_default else Disposition(0)
            streams.append(stream)
        for track, stream in zip(tracks, streams, strict=True):
            form, size = stream.codec_context.format.name, stream.codec_context.frame_size
            convert = AudioResampler(form, "mono", RATE_HZ, frame_size=size or 1_024)
            noise = np.random.default_rng(track.seconds).standard_normal(track.seconds * RATE_HZ) * 0.1
            frame = AudioFrame.from_ndarray(noise[None].astype(np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, 0
            for part in convert.resample(frame):
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
    return path


def measure(path: Path, *audio_track: str) -> int:
    """Return the whole seconds of the track that probe and decoder choose."""
    with path.open("rb", buffering=0) as upload:
        probed_s = probe_audio(upload, max_audio_s=600, audio_track=audio_track)
        found = decode_audio(upload, max_audio_s=600, audio_track=audio_track)
        decoded_s = sum(map(len, only_samples(found))) / 32_000
    assert probed_s == pytest.approx(decoded_s, abs=0.2)
    return round(probed_s)


def test_the_default_flag_decides(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mkv", Track(2), Track(4, is_default=True), Track(6))
    assert measure(film) == 4


def test_without_a_flag_the_first_track_is_read_whatever_its_bit_rate(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mkv", Track(2, "libopus"), Track(4, "pcm_s16le"))
    assert measure(film) == 2


@pytest.mark.parametrize("is_default", [True, False])
def test_a_track_that_cannot_be_decoded_hides_no_other(tmp_path: Path, *, is_default: bool) -> None:
    film = write_film(tmp_path / "a.mkv", Track(2, "tta", is_default=is_default), Track(4, "aac"))
    assert measure(film) == 4


@pytest.mark.parametrize(("audio_track", "seconds"), [(("1",), 2), (("2",), 4), (("fr", "fra", "fre"), 4)])
def test_a_client_chooses_a_track(tmp_path: Path, audio_track: tuple[str, ...], seconds: int) -> None:
    film = write_film(tmp_path / "a.mkv", Track(2, language="eng", is_default=True), Track(4, language="fre"))
    assert measure(film, *audio_track) == seconds


@pytest.mark.parametrize("audio_track", [("3",), ("de", "deu", "ger")])
def test_a_track_that_is_missing_is_refused_with_the_list(
    tmp_path: Path, audio_track: tuple[str, ...]
) -> None:
    film = write_film(tmp_path / "a.mkv", Track(2, language="eng"), Track(4, language="fre"))
    with pytest.raises(UnreadableAudio, match=r"1 \(eng\), 2 \(fre\)") as caught:
        measure(film, *audio_track)
    assert caught.value.param == "audio_track"


def test_an_encoding_that_is_not_supported_is_named(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mkv", Track(2, "tta"))
    with pytest.raises(UnreadableAudio, match="tta is not supported"):
        measure(film)
