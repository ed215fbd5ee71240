"""Speech of a length consists of whole recordings, so that its text is known."""

import pytest

from shared.audio_format import SAMPLE_RATE_HZ
from tests.bench.speech import Speech, measure_s
from tests.support.joined_speech import Recording


def record(seconds: float, text: str) -> Recording:
    return Recording(bytes(2 * round(seconds * SAMPLE_RATE_HZ)), text)


SPEECH = Speech([record(4, "short"), record(20, "long")], "two recordings")


@pytest.mark.parametrize(
    ("wanted_s", "length_s", "text"),
    [
        (1, 4, "short"),
        (5, 4, "short"),
        (12, 12, "short short short"),
        (20.5, 20, "long"),
        (27, 28, "short long short"),
        (60, 60, "short long short long short short short"),
    ],
)
def test_a_file_has_whole_recordings_near_its_length(wanted_s: float, length_s: float, text: str) -> None:
    joined = SPEECH.join_file(wanted_s)

    assert measure_s(joined.file) == pytest.approx(length_s, abs=0.01)
    assert joined.text == text
