"""The first text of a minute of speech comes early, token by token, from Qwen3-ASR."""

import numpy as np
import pytest

from tests.fakes.audio import write_floats
from tests.fakes.doors import transcribe
from tests.fakes.partial_times import MOST_SHARE, time_stream
from tests.fakes.server import RealServer
from tests.fakes.tiny_qwen3 import SAMPLES, read_file


@pytest.mark.full
def test_the_first_text_of_a_minute_comes_within_a_fifth_of_the_time(qwen_server: RealServer) -> None:
    transcribe(qwen_server, read_file("en_hello"))  # so that the model is loaded
    times = time_stream(qwen_server, write_floats(np.tile(SAMPLES["en_fox"].read(), 24)))
    assert times.first_share < MOST_SHARE, times
    assert SAMPLES["en_fox"].text in times.text
