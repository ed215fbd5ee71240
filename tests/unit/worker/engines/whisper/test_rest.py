"""The rest of a window after a lone last timestamp is decoded only where speech may be missing."""

import numpy as np
import pytest

from worker.engines.whisper.passes import EncodedWindow, Pass

END = 1_000
"""The frames of each window, 10 s."""


def find_rest(text_end: int, *pauses: int, frame: int = 0) -> int:
    window = EncodedWindow(np.zeros((80, END), np.float32), None, pauses)
    return Pass(None, None, None, window=window, frame=frame)._find_rest(text_end)


def test_the_silence_at_the_end_of_a_window_is_left_out() -> None:
    assert find_rest(960) == END


def test_a_timestamp_that_is_a_second_early_brings_no_second_pass() -> None:
    assert find_rest(850) == END


def test_a_speech_region_after_the_last_timestamp_is_decoded_from_its_pause() -> None:
    assert find_rest(760, 300, 770) == 770


@pytest.mark.parametrize("text_end", [700, 780, 795])
def test_a_timestamp_near_a_pause_counts_as_one_before_it(text_end: int) -> None:
    assert find_rest(text_end, 770, 850) == 770


def test_a_brief_sound_after_the_last_timestamp_is_left_out() -> None:
    assert find_rest(860, 910) == END


def test_long_speech_without_a_pause_is_decoded_from_the_timestamp() -> None:
    assert find_rest(600) == 600


def test_a_pass_never_begins_where_one_began_before() -> None:
    assert find_rest(620, 610, frame=610) == 620
