"""A client's settings for speech detection change the windows of real speech."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
import soundfile

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import Checkpoint, SpeechDetection, TranscriptionRequest
from tests.support.media_files import CLIPS
from worker.engines.protocol import Samples, Span, Window
from worker.model import messages
from worker.model.window_reader import WindowCutter

LIKE_THE_SERVER = SpeechDetection(threshold=0.5, padding_s=0.4, pause_s=0.5)


@pytest.fixture(scope="module")
def speech() -> Samples:
    """Return five sentences, and the first of them again after 3 s of silence."""
    samples: Samples = soundfile.read(CLIPS / "long.ogg", dtype="float32")[0]
    return np.concatenate((samples, np.zeros(3 * SAMPLE_RATE_HZ, np.float32), samples[: 4 * SAMPLE_RATE_HZ]))


def cut(speech: Samples, detection: SpeechDetection | None, *, window_s: float = 30.0) -> list[Window]:
    cutter = WindowCutter(window_s=window_s)
    cutter.load_vad()
    order = messages.DecodeJob(
        1, TranscriptionRequest(speech_detection=detection), Checkpoint(), is_early_text_wanted=False
    )
    received = messages.order_decoder.decode(msgspec.json.encode(order))
    assert isinstance(received, messages.DecodeJob)
    return [placed.window for placed in cutter.cut(received, [speech])]


def spans(windows: Sequence[Window]) -> list[Span]:
    return [span for window in windows for span in window.spans]


def kept_s(windows: Sequence[Window]) -> float:
    return sum(len(window.samples) for window in windows) / SAMPLE_RATE_HZ


def count_pauses(windows: Sequence[Window]) -> int:
    return sum(len(window.pauses) for window in windows)


def test_without_settings_the_windows_are_the_defaults(speech: Samples) -> None:
    assert spans(cut(speech, None)) == spans(cut(speech, LIKE_THE_SERVER))


def test_a_higher_threshold_finds_less_speech(speech: Samples) -> None:
    bold = cut(speech, SpeechDetection(threshold=0.1, padding_s=0, pause_s=0.2))
    shy = cut(speech, SpeechDetection(threshold=0.95, padding_s=0, pause_s=0.2))
    assert kept_s(shy) < kept_s(bold) - 0.5
    everything = cut(speech, SpeechDetection(threshold=0, padding_s=0, pause_s=0.2))
    assert kept_s(everything) == pytest.approx(len(speech) / SAMPLE_RATE_HZ)


def test_padding_is_the_silence_kept_around_speech(speech: Samples) -> None:
    bare = cut(speech, SpeechDetection(threshold=0.5, padding_s=0, pause_s=0.5))
    padded = cut(speech, SpeechDetection(threshold=0.5, padding_s=0.3, pause_s=0.5))
    gap_s = (spans(bare)[-1].start - spans(bare)[-2].end) / SAMPLE_RATE_HZ
    padded_gap_s = (spans(padded)[-1].start - spans(padded)[-2].end) / SAMPLE_RATE_HZ
    assert padded_gap_s == pytest.approx(gap_s - 2 * 0.3, abs=0.001)
    assert kept_s(padded) > kept_s(bare)


def test_a_shorter_pause_separates_more_regions(speech: Samples) -> None:
    short, usual, long = (
        cut(speech, SpeechDetection(threshold=0.5, padding_s=0, pause_s=pause_s)) for pause_s in (0.5, 2, 5)
    )
    assert count_pauses(short) > count_pauses(usual) > count_pauses(long) == 0


@pytest.mark.parametrize("window_s", [1.0, 8.0])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("padding_s", [0.0, 2.0])
@pytest.mark.parametrize("pause_s", [0.05, 5.0])
def test_any_accepted_settings_give_windows_within_the_limit_in_order(
    speech: Samples, window_s: float, threshold: float, padding_s: float, pause_s: float
) -> None:
    windows = cut(speech, SpeechDetection(threshold, padding_s, pause_s), window_s=window_s)

    moments = [moment for span in spans(windows) for moment in (span.start, span.end)]
    assert moments == sorted(moments)
    assert all(0 < len(window.samples) <= window_s * SAMPLE_RATE_HZ for window in windows)
    assert bool(windows) == (threshold < 1)
