"""A decoder that enters an upload at a seek point gives the samples of one that begins at its start."""

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

from shared.audio_format import SAMPLE_RATE_HZ, AudioStart, SeekPoint
from shared.media.decode import decode_audio
from shared.media.ffmpeg_sound import SoundPacket, decode_packet

LENGTH_S = 26
Pcm = npt.NDArray[np.int16]


class Recipe(NamedTuple):
    """A synthetic file: its container by its suffix, its encoding, and the times of its frames."""

    name: str
    codec: str
    rate_hz: int
    layout: str = "stereo"
    options: Mapping[str, str] = {}
    gaps_s: tuple[float, ...] = ()
    first_s: float = 0.0


class Decoded(NamedTuple):
    """The samples that a decoder wrote, and its seek points."""

    pcm: Pcm
    points: list[SeekPoint]


def make_sound(rate_hz: int, channels: int, *, seconds: float = LENGTH_S) -> npt.NDArray[np.float32]:
    """Return a tone with pauses and noise, in which no two moments are alike, shape (channels, n)."""
    times_s = np.arange(round(seconds * rate_hz)) / rate_hz
    tone = np.sin(2 * np.pi * (220 + 90 * np.sin(times_s / 1.3)) * times_s) * (np.sin(2 * times_s) > -0.5)
    noise = np.random.default_rng(3).standard_normal(len(times_s))
    mono = 0.3 * tone + 0.001 * noise
    return np.stack([mono / (1 + channel) for channel in range(channels)]).astype(np.float32)


def write(recipe: Recipe, folder: Path) -> Path:
    """Encode the sound of `recipe`. Each of its gaps is 2 s of missing time."""
    path = folder / recipe.name
    with av.open(path, "w", options=dict(recipe.options)) as container:
        track = container.add_stream(recipe.codec, rate=recipe.rate_hz, layout=recipe.layout)
        assert isinstance(track, AudioStream)
        convert = AudioResampler(format=track.format.name, layout=recipe.layout, rate=recipe.rate_hz)
        for frame in make_frames(recipe):
            for converted in convert.resample(frame):
                container.mux(track.encode(converted))
        container.mux(track.encode(None))
    return path


def make_frames(recipe: Recipe) -> Iterator[AudioFrame]:
    sound = make_sound(recipe.rate_hz, 1 if recipe.layout == "mono" else 2)
    for begin in range(0, sound.shape[1], 1_024):
        part = np.ascontiguousarray(sound[:, begin : begin + 1_024])
        frame = AudioFrame.from_ndarray(part, format="fltp", layout=recipe.layout)
        late_s = recipe.first_s + 2 * sum(begin >= gap_s * recipe.rate_hz for gap_s in recipe.gaps_s)
        frame.sample_rate, frame.time_base = recipe.rate_hz, Fraction(1, recipe.rate_hz)
        frame.pts = begin + round(late_s * recipe.rate_hz)
        yield frame


def decode(path: Path, start: AudioStart | None = None) -> Decoded:
    points, blocks = [], []
    with path.open("rb", buffering=0) as upload:
        for found in decode_audio(upload, max_audio_s=600, start=start or AudioStart()):
            if isinstance(found, SeekPoint):
                points.append(found)
            else:
                blocks.append(found)
    return Decoded(np.frombuffer(b"".join(blocks), "<i2"), points)


def list_starts(whole: Decoded) -> list[AudioStart]:
    """Return starts at the seek points, after them, and at the end."""
    last = whole.points[-1]
    return [
        *(AudioStart(point.sample, point) for point in whole.points),
        AudioStart(last.sample + 12_345, last),
        AudioStart(len(whole.pcm) - 1, whole.points[0]),
    ]


@pytest.fixture
def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the sizes of all packets that are decoded from now on."""
    sizes: list[int] = []

    def decode_and_count(packet: SoundPacket) -> list[AudioFrame]:
        sizes.append(packet.size)
        return decode_packet(packet)

    monkeypatch.setattr("shared.media.seeking.decode_packet", decode_and_count)
    return sizes


EXACT = [
    Recipe("a.wav", "pcm_s16le", 44_100),
    Recipe("b.wav", "pcm_f32le", 8_000, "mono"),
    Recipe("adpcm.wav", "adpcm_ima_wav", 22_050),
    Recipe("phone.wav", "pcm_mulaw", 8_000, "mono"),
    Recipe("a.aiff", "pcm_s16be", 44_100),
    Recipe("a.au", "pcm_s16be", 11_025),
    Recipe("a.caf", "alac", 44_100),
    Recipe("a.w64", "pcm_s24le", 48_000),
    Recipe("a.flac", "flac", 44_100),
    Recipe("b.flac", "flac", 16_000, "mono"),
    Recipe("a.wv", "wavpack", 44_100),
    Recipe("a.mp3", "libmp3lame", 44_100),
    Recipe("b.mp3", "libmp3lame", 8_000, "mono"),
    Recipe("bare.mp3", "libmp3lame", 44_100, options={"write_xing": "0"}),
    Recipe("a.opus", "libopus", 48_000),
    Recipe("flac.ogg", "flac", 44_100),
    Recipe("a.m4a", "alac", 44_100),
    Recipe("a.mov", "pcm_s16le", 44_100),
    Recipe("a.webm", "libopus", 48_000, "mono"),
    Recipe("live.webm", "libopus", 48_000, "mono", {"live": "1"}),
    Recipe("gaps.webm", "libopus", 48_000, gaps_s=(4.0, 11.0)),
    Recipe("late.mkv", "libmp3lame", 44_100, first_s=3.0),
    Recipe("a.mkv", "flac", 44_100),
    Recipe("a.ts", "mp2", 44_100),
    Recipe("a.avi", "libmp3lame", 44_100),
    Recipe("a.flv", "libmp3lame", 44_100),
]


@pytest.mark.parametrize("recipe", EXACT, ids=lambda recipe: recipe.name)
def test_a_decoder_that_enters_gives_exactly_the_tail(
    tmp_path: Path, recipe: Recipe, count_decoded: list[int]
) -> None:
    path = write(recipe, tmp_path)
    whole = decode(path)
    assert len(whole.points) >= 3
    total = sum(count_decoded)
    for start in list_starts(whole):
        count_decoded.clear()
        tail = decode(path, start)
        assert np.array_equal(tail.pcm, whole.pcm[start.sample :])
        assert start.seek_point is not None
        left = 1 - start.seek_point.sample / len(whole.pcm)
        assert sum(count_decoded) < total * (left + 0.15)


NOISY = [
    (Recipe("a.m4a", "aac", 44_100), 0.05),
    (Recipe("b.m4a", "aac", 16_000, "mono"), 0.05),
    (Recipe("gaps.m4a", "aac", 44_100, gaps_s=(4.0, 11.0)), 0.05),
    (Recipe("fragments.mp4", "aac", 44_100, options={"movflags": "frag_keyframe+empty_moov"}), 0.05),
    (Recipe("a.aac", "aac", 44_100), 0.05),
    (Recipe("late.mkv", "aac", 44_100, first_s=3.0), 0.05),
    (Recipe("a.ts", "aac", 44_100), 0.05),
    (Recipe("a.ac3", "ac3", 44_100), 0.1),
    (Recipe("a.eac3", "eac3", 44_100), 0.1),
    (Recipe("a.amr", "libopencore_amrnb", 8_000, "mono"), 0.001),
    (Recipe("a.3gp", "libopencore_amrnb", 8_000, "mono"), 0.001),
]


@pytest.mark.parametrize(("recipe", "noise"), NOISY, ids=lambda value: getattr(value, "name", ""))
def test_decoders_that_fill_in_noise_give_the_tail_with_other_noise(
    tmp_path: Path, recipe: Recipe, noise: float
) -> None:
    path = write(recipe, tmp_path)
    whole = decode(path)
    assert len(whole.points) >= 3
    for start in list_starts(whole):
        expected = whole.pcm[start.sample :].astype(np.float64)
        difference = decode(path, start).pcm - expected
        assert np.sqrt(np.mean(difference**2)) <= noise * np.sqrt(np.mean(whole.pcm.astype(np.float64) ** 2))


def join(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes() + other.read_bytes())


def damage_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3_000] = np.random.default_rng(7).bytes(3_000)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("a.mp3", "libmp3lame", 44_100),
        Recipe("a.flac", "flac", 44_100),
        Recipe("a.opus", "libopus", 48_000),
        Recipe("a.webm", "libopus", 48_000),
        Recipe("live.webm", "libopus", 48_000, options={"live": "1"}),
        Recipe("a.wav", "pcm_s16le", 44_100),
        Recipe("a.m4a", "alac", 44_100),
    ],
    ids=lambda recipe: recipe.name,
)
@pytest.mark.parametrize("change", [lambda path: join(path, path), damage_middle], ids=["joined", "damaged"])
def test_joined_and_damaged_files_give_the_tail_too(
    tmp_path: Path, recipe: Recipe, change: Callable[[Path], None]
) -> None:
    path = write(recipe, tmp_path)
    change(path)
    whole = decode(path)
    for start in list_starts(whole):
        assert np.array_equal(decode(path, start).pcm, whole.pcm[start.sample :])


@pytest.mark.parametrize("subtype", ["VORBIS", "MPEG_LAYER_III"])
def test_variable_bit_rates_give_exactly_the_tail(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "clip"
    form = {"VORBIS": "OGG", "MPEG_LAYER_III": "MP3"}[subtype]
    mode = {} if subtype == "VORBIS" else {"bitrate_mode": "VARIABLE"}
    with soundfile.SoundFile(path, "w", 44_100, 2, subtype=subtype, format=form, **mode) as file:
        for block in np.array_split(make_sound(44_100, 2).T, 100):
            file.write(block)
    whole = decode(path)
    assert len(whole.points) >= 3
    for start in list_starts(whole):
        assert np.array_equal(decode(path, start).pcm, whole.pcm[start.sample :])


def test_chained_ogg_streams_are_decoded_from_the_start_where_needed(tmp_path: Path) -> None:
    parts = [tmp_path / "1.ogg", tmp_path / "2.ogg"]
    for part, rate_hz in zip(parts, (44_100, 16_000), strict=True):
        sound = make_sound(rate_hz, 2, seconds=13).T
        soundfile.write(part, sound, rate_hz, format="OGG", subtype="VORBIS")
    join(*parts)
    whole = decode(parts[0])
    for start in list_starts(whole):
        assert np.array_equal(decode(parts[0], start).pcm, whole.pcm[start.sample :])


@pytest.mark.parametrize("recipe", EXACT, ids=lambda recipe: recipe.name)
def test_a_decoder_that_entered_gives_seek_points_too(tmp_path: Path, recipe: Recipe) -> None:
    path = write(recipe, tmp_path)
    whole = decode(path)
    first = whole.points[0]
    last = decode(path, AudioStart(first.sample, first)).points[-1]
    assert last.sample > whole.points[1].sample
    tail = decode(path, AudioStart(last.sample, last))
    assert np.array_equal(tail.pcm, whole.pcm[last.sample :])


def test_a_rate_that_changes_between_seek_points_is_followed(tmp_path: Path) -> None:
    first, second = (Recipe(f"{rate_hz}.mp3", "libmp3lame", rate_hz) for rate_hz in (44_100, 16_000))
    path = write(first, tmp_path)
    join(path, write(second, tmp_path))
    whole = decode(path)
    assert len(whole.pcm) > 1.9 * LENGTH_S * SAMPLE_RATE_HZ
    for start in list_starts(whole):
        assert np.array_equal(decode(path, start).pcm, whole.pcm[start.sample :])


def test_a_seek_point_that_does_not_fit_the_file_costs_only_time(tmp_path: Path) -> None:
    path = write(Recipe("a.mp3", "libmp3lame", 16_000, "mono"), tmp_path)
    whole = decode(path)
    point = whole.points[1]
    for wrong in (
        {"anchor_byte": point.anchor_byte + 1},
        {"entry_byte": 2**40, "anchor_byte": 2**40},
        {"entry_byte": -1},
        {"sample": len(whole.pcm)},
    ):
        start = AudioStart(point.sample, msgspec.structs.replace(point, **wrong))
        assert np.array_equal(decode(path, start).pcm, whole.pcm[start.sample :])


def test_seek_points_come_every_few_seconds_before_their_samples(tmp_path: Path) -> None:
    path = write(Recipe("a.flac", "flac", 44_100), tmp_path)
    written = 0
    with path.open("rb", buffering=0) as upload:
        for found in decode_audio(upload, max_audio_s=600):
            if isinstance(found, SeekPoint):
                assert written <= found.sample
            else:
                written += len(found) // 2
    samples = [point.sample for point in decode(path).points]
    distances = np.diff([0, *samples]) / SAMPLE_RATE_HZ
    assert distances.min() >= 5
    assert distances.max() < 7
