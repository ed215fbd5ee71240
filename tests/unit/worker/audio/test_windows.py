"""Windows have the exact samples of their spans for blocks of any size, and memory holds little else."""

import tracemalloc
from collections.abc import Iterator
from itertools import count, islice, pairwise, zip_longest

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from shared.audio_format import SAMPLE_RATE_HZ, AudioStart
from shared.jobs import Checkpoint
from tests.support.media_files import CLIPS
from worker.audio.vad import CHUNK_SAMPLES, Probabilities, SileroStream, SileroVad
from worker.audio.window_plan import WindowConfig
from worker.audio.windows import cut_fixed_windows, cut_windows
from worker.engines.protocol import Samples, Window

CONFIG = WindowConfig(window_s=3.0, min_speech_s=0.0)


class LoudnessDetector(SileroStream):
    """A detector that takes loud samples for speech: a chunk's probability is its largest sample."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)

    def detect(self, samples: Samples) -> Probabilities:
        pending = np.concatenate((self._rest, samples))
        whole = len(pending) - len(pending) % CHUNK_SAMPLES
        self._rest = pending[whole:]
        loudest: Probabilities = pending[:whole].reshape(-1, CHUNK_SAMPLES).max(axis=1)
        return loudest

    def finish(self) -> Probabilities:
        return self._rest if len(self._rest) == 0 else np.array([self._rest.max()])


def make_audio(runs: list[tuple[float, int]], *, seed: int = 0) -> Samples:
    """Return runs of (loudness, samples). All samples differ, so that none passes for another."""
    random = np.random.default_rng(seed)
    parts = [loudness - random.uniform(0, 0.01, length) for loudness, length in runs]
    return np.concatenate(parts).astype(np.float32)


def split(audio: Samples, sizes: list[int]) -> Iterator[Samples]:
    """`audio` in blocks of `sizes`, over and over."""
    start = 0
    while start < len(audio):
        for size in sizes:
            yield audio[start : start + size]
            start += size


def cut(audio: Samples, *, config: WindowConfig = CONFIG, blocks: list[int] | None = None) -> list[Window]:
    return list(cut_windows(split(audio, blocks or [4_000]), LoudnessDetector(), config=config))


runs = st.tuples(st.sampled_from([0.9, 0.45, 0.2]), st.integers(500, 60_000))
audios = st.lists(runs, min_size=1, max_size=8).map(make_audio)
block_sizes = st.lists(st.integers(0, 50_000), min_size=1, max_size=4).filter(
    lambda sizes: sum(sizes) > 2_000
)


@given(audios)
def test_at_most_the_final_window_is_known_to_be_the_last(audio: Samples) -> None:
    for windows in (cut(audio), list(cut_fixed_windows([audio], 1.0))):
        assert not any(window.is_last for window in windows[:-1])
        assert all(window.end_sample == len(audio) for window in windows if window.is_last)


@given(audios, block_sizes)
def test_the_size_of_the_blocks_does_not_matter(audio: Samples, sizes: list[int]) -> None:
    expected = cut(audio)

    windows = cut(audio, blocks=sizes)

    assert [window.spans for window in windows] == [window.spans for window in expected]
    assert [window.end_sample for window in windows] == [window.end_sample for window in expected]


def test_audio_in_single_samples_gives_the_same_windows() -> None:
    audio = make_audio([(0.9, 2_000), (0.1, 20_000), (0.9, 3_001)])

    assert [window.spans for window in cut(audio, blocks=[1])] == [window.spans for window in cut(audio)]


@given(audios, block_sizes)
def test_a_window_carries_the_samples_of_its_spans(audio: Samples, sizes: list[int]) -> None:
    for number, window in enumerate(cut(audio, blocks=sizes)):
        assert window.index == number
        joined = np.concatenate([audio[span.start : span.end] for span in window.spans])
        np.testing.assert_array_equal(window.samples, joined)


@given(audios)
def test_times_in_a_window_map_to_the_upload_in_order(audio: Samples) -> None:
    for window in cut(audio):
        moments_s = np.linspace(-0.5, len(window.samples) / SAMPLE_RATE_HZ + 0.5, 200)
        mapped_s = [window.to_upload_s(float(moment_s)) for moment_s in moments_s]
        assert mapped_s == sorted(mapped_s)
        assert mapped_s[0] == window.spans[0].start / SAMPLE_RATE_HZ
        assert mapped_s[-1] == window.spans[-1].end / SAMPLE_RATE_HZ


@given(audios)
def test_a_run_that_resumes_after_any_window_gives_the_later_speech_again(audio: Samples) -> None:
    windows = cut(audio)
    for done, window in enumerate(windows, start=1):
        begin = max(0, window.end_sample - SAMPLE_RATE_HZ) // CHUNK_SAMPLES * CHUNK_SAMPLES
        start = AudioStart(begin, resumes_in_speech=window.ends_in_speech)

        resumed = cut_windows(
            split(audio[start.sample :], [7_000]),
            LoudnessDetector(),
            config=CONFIG,
            checkpoint=Checkpoint(done, window.end_sample, audio_start=start),
        )

        for again, expected in zip_longest(resumed, windows[done:]):
            assert (again.index, again.spans) == (expected.index, expected.spans)
            np.testing.assert_array_equal(again.samples, expected.samples)


def test_a_window_is_yielded_before_later_audio_is_read() -> None:
    taken: list[int] = []

    def blocks() -> Iterator[Samples]:
        for second in range(100):
            taken.append(second)
            yield make_audio([(0.9, SAMPLE_RATE_HZ // 2), (0.1, SAMPLE_RATE_HZ // 2)])

    windows = cut_windows(blocks(), LoudnessDetector(), config=CONFIG)

    assert len(next(windows).spans) == 1
    assert len(taken) <= 4


def test_half_an_hour_of_rare_speech_takes_little_memory() -> None:
    second = make_audio([(0.1, SAMPLE_RATE_HZ)])
    word = make_audio([(0.9, SAMPLE_RATE_HZ // 4), (0.1, SAMPLE_RATE_HZ * 3 // 4)])
    blocks = (word if number % 150 == 0 else second for number in range(1800))
    tracemalloc.start()
    try:
        windows = list(cut_windows(blocks, LoudnessDetector(), config=WindowConfig()))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert sum(len(window.spans) for window in windows) == 12
    assert peak_bytes < 4 << 20


def test_no_audio_gives_no_window() -> None:
    assert list(cut_windows([], LoudnessDetector(), config=CONFIG)) == []
    assert list(cut_fixed_windows([], 5)) == []


def test_real_speech_is_found_between_its_pauses() -> None:
    audio, _ = soundfile.read(CLIPS / "long.ogg", dtype="float32")
    config = WindowConfig(window_s=12.0)

    windows = list(cut_windows(split(audio, [16_000]), SileroVad().open_stream(), config=config))

    # Five sentences, and more than a second of silence between any two.
    assert [len(window.spans) for window in windows] == [3, 2]
    spans = [span for window in windows for span in window.spans]
    assert all(later.start - span.end > 0.2 * SAMPLE_RATE_HZ for span, later in pairwise(spans))
    assert all(len(window.samples) <= 12 * SAMPLE_RATE_HZ for window in windows)


@given(st.integers(1, 100_000), block_sizes, st.integers(0, 10**6), st.integers(0, 20_000))
def test_fixed_windows_follow_each_other(length: int, sizes: list[int], start_sample: int, lead: int) -> None:
    read_before = make_audio([(0.9, min(lead, start_sample))])
    audio = make_audio([(0.5, length)])
    start = AudioStart(start_sample - len(read_before))

    blocks = split(np.concatenate((read_before, audio)), sizes)
    windows = list(cut_fixed_windows(blocks, 0.5, checkpoint=Checkpoint(3, start_sample, audio_start=start)))

    assert [window.index for window in windows] == list(range(3, 3 + len(windows)))
    np.testing.assert_array_equal(np.concatenate([window.samples for window in windows]), audio)
    spans = [window.spans[0] for window in windows]
    assert spans[0].start == start_sample
    assert all(before.end == after.start for before, after in pairwise(spans))
    assert all(span.length == 8_000 for span in spans[:-1])
    assert [window.end_sample for window in windows] == [span.end for span in spans]


@pytest.mark.parametrize("window_s", [1.0, 30.0])
def test_a_fixed_window_is_yielded_as_soon_as_it_is_full(window_s: float) -> None:
    endless = (make_audio([(0.5, SAMPLE_RATE_HZ)]) for _ in count())

    windows = list(islice(cut_fixed_windows(endless, window_s), 2))

    assert [len(window.samples) for window in windows] == [window_s * SAMPLE_RATE_HZ] * 2


def test_a_window_has_the_positions_of_its_pauses_in_its_samples() -> None:
    second = SAMPLE_RATE_HZ
    runs = [(0.9, second), (0.0, 6 * CHUNK_SAMPLES + second // 2), (0.9, second // 2)]
    audio = make_audio([(0.0, 50 * second), *runs, (0.0, 40 * second), (0.9, second // 2)])

    (window,) = cut(audio, config=WindowConfig(window_s=8.0))

    short, long = window.pauses
    assert len(window.spans) == 2
    assert long == window.spans[0].length
    assert all(abs(window.samples[pause - 1_000 : pause + 1_000]).max() <= 0.01 for pause in (short, long))
    before, after = window.samples[:short], window.samples[short:long]
    assert np.count_nonzero(before > 0.5) == second
    assert np.count_nonzero(after > 0.5) == second // 2
