"""The first text of a minute of speech comes early, token by token, from Qwen3-ASR."""

import time

import numpy as np
import pytest

from shared.jobs import Checkpoint, TranscriptionRequest
from tests.support.audio import write_floats
from tests.support.decoder_driver import DecoderDriver
from tests.support.endpoints import transcribe
from tests.support.model_reports import find_windows
from tests.support.partial_times import MAX_SHARE, time_stream
from tests.support.server import RealServer
from tests.support.tiny_qwen3 import SAMPLES, TINY, WINDOW_S, read_file
from worker.engines.qwen3.engine import Qwen3Engine
from worker.model.messages import DecodeJob, JobDecoded, PartialDecoded
from worker.partials import PARTIAL_INTERVAL_S
from worker.settings import WorkerSettings

BATCH = 8
ORDER = DecodeJob(1, TranscriptionRequest(), Checkpoint(), is_early_text_wanted=False)


@pytest.mark.full
def test_the_first_text_of_a_minute_comes_within_a_fifth_of_the_time(qwen_server: RealServer) -> None:
    transcribe(qwen_server, read_file("en_hello"))  # so that the model is loaded
    times = time_stream(qwen_server, write_floats(np.tile(SAMPLES["en_fox"].read(), 24)))
    assert times.first_share < MAX_SHARE, times
    assert SAMPLES["en_fox"].text in times.text


def test_the_windows_of_a_batch_share_the_partials_of_one() -> None:
    engine = Qwen3Engine(WorkerSettings(model_id=str(TINY), device="cpu", batch_windows=BATCH))
    engine.load(lambda _phase: None)
    driver = DecoderDriver(engine, window_s=WINDOW_S)
    driver.open(ORDER, [np.pad(SAMPLES["en_fox"].read(), (0, 32_000))] * BATCH)
    began = time.monotonic()

    reports = driver.decode_all()

    took_s = time.monotonic() - began
    partials = [report.partial for report in reports if isinstance(report, PartialDecoded)]
    assert isinstance(reports[-1], JobDecoded)
    assert len(partials) <= 1 + took_s / PARTIAL_INTERVAL_S
    for window in find_windows(reports):
        told = "".join(partial.delta for partial in partials if partial.window == window.window)
        assert " ".join(segment.text for segment in window.segments).startswith(told)
