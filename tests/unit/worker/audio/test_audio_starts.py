"""A job that reads from the chosen start goes on as if it had never stopped."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest

import numpy as np
import pytest
import soundfile

from shared.audio_format import FROM_THE_START, SAMPLE_RATE_HZ, AudioStart, SeekPoint
from shared.jobs import Checkpoint
from tests.support.media_files import CLIPS
from worker.audio.audio_starts import AudioStarts
from worker.audio.vad import SileroVad
from worker.audio.window_plan import WindowConfig
from worker.audio.windows import cut_windows
from worker.engines.protocol import Samples, Window

CONFIG = WindowConfig(window_s=6.0)


@pytest.fixture(scope="module")
def vad() -> SileroVad:
    return SileroVad()


@pytest.fixture(scope="module")
def speech() -> Samples:
    """Return a minute and a half of sentences with pauses, and of sentences without."""
    sentences, _ = soundfile.read(CLIPS / "long.ogg", dtype="float32")
    sentence, _ = soundfile.read(CLIPS / "speech.flac", dtype="float32")
    joined: Samples = np.concatenate([sentences, *[sentence] * 5, sentences, np.zeros(SAMPLE_RATE_HZ, "f4")])
    return joined


def make_point(sample: int) -> SeekPoint:
    return SeekPoint(sample, sample, None, sample, None, sample, 0)


def make_window(end_s: int) -> Window:
    return Window(0, (), np.zeros(0, np.float32), end_s * SAMPLE_RATE_HZ)


def read(
    audio: Samples, start: AudioStart, *, points: Sequence[SeekPoint] = ()
) -> Iterator[Samples | SeekPoint]:
    """Yield one-second blocks from `start` on, each after the seek points that lead to it."""
    for begin in range(start.sample, len(audio), SAMPLE_RATE_HZ):
        yield from (point for point in points if begin <= point.sample < begin + SAMPLE_RATE_HZ)
        yield audio[begin : begin + SAMPLE_RATE_HZ]


def run(vad: SileroVad, audio: Samples, checkpoint: Checkpoint) -> Iterator[tuple[Window, AudioStart]]:
    """Yield the windows of a run, each with the start of a run that resumes after it."""
    detector = vad.open_stream(checkpoint.audio_start)
    starts = AudioStarts(checkpoint.audio_start, detector)
    blocks = starts.collect(read(audio, checkpoint.audio_start))
    for window in cut_windows(blocks, detector, config=CONFIG, checkpoint=checkpoint):
        yield window, starts.choose(window)


def test_a_run_that_resumes_after_any_window_gives_the_same_later_windows(
    vad: SileroVad, speech: Samples
) -> None:
    whole = list(run(vad, speech, Checkpoint()))
    assert len(whole) > 10
    for done, (window, start) in enumerate(whole, start=1):
        assert 0 <= window.end_sample - start.sample < 7 * SAMPLE_RATE_HZ
        again = run(vad, speech, Checkpoint(done, window.end_sample, audio_start=start))
        for (found, next_start), (expected, expected_start) in zip_longest(again, whole[done:]):
            assert (found.index, found.spans) == (expected.index, expected.spans)
            assert found.end_sample == expected.end_sample
            np.testing.assert_array_equal(found.samples, expected.samples)
            assert next_start.sample <= expected_start.sample + 5 * SAMPLE_RATE_HZ


def test_a_state_of_another_detector_begins_anew(vad: SileroVad, speech: Samples) -> None:
    expected = vad.open_stream().detect(speech[: SAMPLE_RATE_HZ * 4])
    foreign = AudioStart(0, detector_state=b"from another release")
    assert np.array_equal(vad.open_stream(foreign).detect(speech[: SAMPLE_RATE_HZ * 4]), expected)


def test_the_last_seek_point_before_the_start_is_chosen() -> None:
    audio = np.zeros(40 * SAMPLE_RATE_HZ, np.float32)
    points = [make_point(seconds * SAMPLE_RATE_HZ) for seconds in (5, 11, 17, 23)]
    starts = AudioStarts(FROM_THE_START, None)
    sound = starts.collect(read(audio, FROM_THE_START, points=points))
    assert sum(map(len, sound)) == len(audio)
    chosen = [starts.choose(make_window(seconds)) for seconds in (3, 5, 12, 30)]
    assert [start.seek_point for start in chosen] == [None, points[0], points[1], points[3]]
    assert [start.sample for start in chosen] == [3 * 16_000, 5 * 16_000, 12 * 16_000, 30 * 16_000]


def test_a_resumed_run_keeps_its_seek_point_until_it_finds_a_later_one() -> None:
    first = AudioStart(8 * SAMPLE_RATE_HZ, make_point(7 * SAMPLE_RATE_HZ))
    starts = AudioStarts(first, None)
    later = make_point(13 * SAMPLE_RATE_HZ)
    list(starts.collect(iter([later])))
    assert starts.choose(make_window(12)).seek_point == first.seek_point
    assert starts.choose(make_window(14)).seek_point == later
