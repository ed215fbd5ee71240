"""Sound is decoded to its place on the file's time line: silence fills late starts and holes."""

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

from shared.audio_format import AudioStart, SeekPoint
from shared.media.decode import decode_audio
from shared.media.probe import probe_audio
from shared.media.time_line import find_hole_s

RATE_HZ = 48_000


def write_beeps(path: Path, codec: str, *begin_s: float, has_picture: bool = False) -> Path:
    """Write a second of a tone at each of these times; with a picture, the file begins at zero."""
    with av.open(path, "w") as container:
        if has_picture:
            picture = container.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p")
        track = container.add_stream(codec, rate=RATE_HZ, layout="mono")
        assert isinstance(track, AudioStream)
        if has_picture:
            container.mux(picture.encode(av.VideoFrame(64, 64, "yuv420p")))
            container.mux(picture.encode(None))
        form = track.codec_context.format.name
        tone = (0.5 * np.sin(np.arange(RATE_HZ) / 10)).astype(np.float32)
        for start_s in begin_s:
            resampler = AudioResampler(form, "mono", RATE_HZ, frame_size=960)
            frame = AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, round(start_s * RATE_HZ)
            for part in resampler.resample(frame):
                container.mux(track.encode(part))
        container.mux(track.encode(None))
    return path


def decode(path: Path, start: AudioStart | None = None) -> tuple[npt.NDArray[np.int16], list[SeekPoint]]:
    with path.open("rb", buffering=0) as upload:
        found = list(decode_audio(upload, max_audio_s=600, start=start or AudioStart()))
    pcm = b"".join(one for one in found if isinstance(one, bytes))
    return np.frombuffer(pcm, "<i2"), [one for one in found if isinstance(one, SeekPoint)]


def find_beeps(pcm: npt.NDArray[np.int16]) -> list[float]:
    """Return the times at which sound begins after silence, in tenths of a second."""
    tenths = np.abs(pcm[: len(pcm) // 1_600 * 1_600].reshape(-1, 1_600).astype(int)).mean(axis=1) > 1_000
    return [n / 10 for n in np.flatnonzero(tenths & ~np.concatenate(([False], tenths[:-1])))]


def probe(path: Path) -> float:
    with path.open("rb", buffering=0) as upload:
        return probe_audio(upload, max_audio_s=600)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.webm", "libopus"), ("a.mkv", "flac"), ("a.m4a", "aac"), ("a.flv", "aac"), ("a.ts", "mp2")],
)
def test_a_hole_is_filled_with_silence(tmp_path: Path, name: str, codec: str) -> None:
    path = write_beeps(tmp_path / name, codec, 0.0, 4.0, 9.0)
    pcm, _ = decode(path)
    assert find_beeps(pcm) == pytest.approx([0.0, 4.0, 9.0], abs=0.11)
    assert probe(path) == pytest.approx(10.0, abs=0.1)
    assert len(pcm) / 16_000 == pytest.approx(10.0, abs=0.1)


@pytest.mark.parametrize(
    ("name", "codec", "has_picture"),
    [
        ("a.mkv", "flac", True),
        ("a.mp4", "aac", True),
        ("a.ts", "mp2", True),
        ("a.mkv", "libopus", False),
        ("a.m4a", "aac", False),
    ],
)
def test_a_late_start_is_filled_with_silence(
    tmp_path: Path, name: str, codec: str, *, has_picture: bool
) -> None:
    path = write_beeps(tmp_path / name, codec, 4.0, 7.0, has_picture=has_picture)
    pcm, _ = decode(path)
    assert find_beeps(pcm) == pytest.approx([4.0, 7.0], abs=0.11)
    assert probe(path) == pytest.approx(8.0, abs=0.1)


def test_a_stream_that_was_joined_late_begins_with_its_first_sound(tmp_path: Path) -> None:
    path = write_beeps(tmp_path / "a.ogg", "libopus", 400.0, 403.0)
    assert find_beeps(decode(path)[0]) == pytest.approx([0.0, 3.0], abs=0.11)
    assert probe(path) == pytest.approx(4.0, abs=0.1)


def test_packets_without_sound_keep_their_time(tmp_path: Path) -> None:
    path = tmp_path / "a.amr"
    with av.open(path, "w") as container:
        track = container.add_stream("libopencore_amrnb", rate=8_000, layout="mono", options={"dtx": "1"})
        assert isinstance(track, AudioStream)
        sound = 0.2 * np.random.default_rng(0).standard_normal(96_000).astype(np.float32)
        sound[24_000:48_000] = 0
        for begin in range(0, len(sound), 160):
            part = (sound[None, begin : begin + 160] * 32_767).astype(np.int16)
            frame = AudioFrame.from_ndarray(part, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 8_000, begin
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    pcm, points = decode(path)
    assert find_beeps(pcm) == pytest.approx([0.0, 6.0], abs=0.11)
    tail, _ = decode(path, AudioStart(points[-1].sample, points[-1]))
    assert len(tail) == len(pcm) - points[-1].sample


@pytest.mark.parametrize(("name", "codec"), [("a.webm", "libopus"), ("a.mkv", "flac"), ("a.ts", "mp2")])
def test_a_decoder_that_enters_after_a_hole_gives_exactly_the_tail(
    tmp_path: Path, name: str, codec: str
) -> None:
    path = write_beeps(tmp_path / name, codec, *range(4), 12.0, *range(20, 28), 40.0)
    whole, points = decode(path)
    assert any(12 < point.sample / 16_000 < 28 for point in points)
    for point in points:
        tail, _ = decode(path, AudioStart(point.sample, point))
        assert np.array_equal(tail, whole[point.sample :])


def test_times_that_lie_are_not_believed() -> None:
    assert find_hole_s(10.0, 10.02, 4.0) == 6.0
    assert find_hole_s(10.0, 4.02, 4.0) == 0.0  # the next packet does not follow
    assert find_hole_s(10.0, None, 4.0) == 0.0
    assert find_hole_s(9_999.0, 9_999.02, 4.0) == 0.0  # longer than an hour
    assert find_hole_s(4.03, 4.05, 4.0) == 0.0  # rounding


def test_no_time_after_the_declared_length_is_believed(tmp_path: Path) -> None:
    path = write_beeps(tmp_path / "a.mkv", "flac", 0.0, 5.0, 50.0)
    content = bytearray(path.read_bytes())
    at = content.index(b"\x44\x89\x88") + 3
    content[at : at + 8] = np.array([8_000.0], ">f8").tobytes()
    path.write_bytes(content)
    assert find_beeps(decode(path)[0]) == pytest.approx([0.0, 5.0], abs=0.11)
    assert probe(path) < 9
