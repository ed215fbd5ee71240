"""The CPU engine with default settings sends the first text of a minute of speech early."""

from pathlib import Path

import pytest

from tests.support.joined_speech import join_recordings, read_recordings
from tests.support.media_files import CLIPS
from tests.support.partial_times import MAX_SHARE, time_stream
from tests.support.server import RealServer
from tests.word_errors import count_errors


@pytest.mark.full
@pytest.mark.timeout(600)
def test_the_first_text_of_a_minute_comes_within_a_fifth_of_the_time(whisper_server: RealServer) -> None:
    # The clips say one sentence 15 times, and Whisper takes some of them for a loop now and then.
    see_early_text(whisper_server, CLIPS, text_column="text", max_errors=0.5)


@pytest.mark.full
@pytest.mark.speech
@pytest.mark.timeout(600)
def test_the_first_text_of_human_speech_comes_as_early(whisper_server: RealServer, speech_dir: Path) -> None:
    see_early_text(whisper_server, speech_dir, text_column="reference", max_errors=0.2)


def see_early_text(server: RealServer, folder: Path, *, text_column: str, max_errors: float) -> None:
    recordings = read_recordings(folder, text_column=text_column)
    time_stream(server, join_recordings(recordings[:1], length_s=1).file)  # so that the model is loaded
    speech = join_recordings(recordings)
    times = time_stream(server, speech.file)
    assert times.first_share < MAX_SHARE, times
    assert count_errors(speech.text, times.text, language="en").rate < max_errors
