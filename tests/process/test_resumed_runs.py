"""A job that is interrupted after each window has the segments of an uninterrupted one."""

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from shared.jobs import Checkpoint, TranscriptionRequest
from shared.media.client import MediaService
from shared.media.samples import read_pcm
from shared.transcripts import FinishedWindow, Segment, WindowTranscript
from tests.process.media_driver import make_service, start_decoding
from tests.support.media_files import CLIPS, encode
from tests.support.model_reports import find_windows
from tests.support.repeating_engine import RepeatingEngine
from worker.engines.protocol import DecodingListener, Window
from worker.model import messages
from worker.model.decoding import JobDecoder, JobListener


class ChecksumEngine(RepeatingEngine):
    """An engine whose text is the checksum of its samples; without `is_exact`, their number."""

    def __init__(self, *, is_exact: bool) -> None:
        super().__init__(needs_speech=True)
        self._is_exact = is_exact

    def decode_windows(
        self,
        windows: Sequence[Window],
        request: TranscriptionRequest,
        listener: DecodingListener,
        *,
        previous_language: str | None = None,
    ) -> list[WindowTranscript]:
        return [WindowTranscript((self._describe(window),)) for window in windows]

    def _describe(self, window: Window) -> Segment:
        text = zlib.crc32(window.samples.tobytes()) if self._is_exact else len(window.samples)
        start_s, end_s = window.to_upload_interval_s(0.0, len(window.samples) / 16_000)
        return Segment(start_s, end_s, str(text), "en")


@pytest.fixture(scope="module")
def service() -> Iterator[MediaService]:
    with make_service() as running:
        yield running


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide 70 s of sentences, as a WAV file."""
    sentences, rate_hz = soundfile.read(CLIPS / "long.ogg", dtype="float32")
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, np.concatenate([sentences] * 3), rate_hz)
    return path


def run(
    service: MediaService, path: Path, decoder: JobDecoder, checkpoint: Checkpoint
) -> Iterator[FinishedWindow]:
    """Yield the windows of a claim, as the worker stores them."""
    with start_decoding(service, path, start=checkpoint.audio_start) as reading:
        order = messages.DecodeJob(1, TranscriptionRequest(), checkpoint, is_early_text_wanted=False)
        listener = JobListener(order.run, lambda _: None, is_stopped=lambda: False)
        for report in decoder.decode(order, read_pcm(reading), listener):
            for finished in find_windows([report]):
                yield msgspec.json.decode(msgspec.json.encode(finished), type=FinishedWindow)


def run_with_interruptions(
    service: MediaService, path: Path, decoder: JobDecoder
) -> Iterator[FinishedWindow]:
    """Yield the windows of a job that resumes after each of them."""
    checkpoint = Checkpoint()
    while (finished := next(run(service, path, decoder, checkpoint), None)) is not None:
        yield finished
        checkpoint = Checkpoint(
            finished.window + 1, finished.resume_sample, "en", audio_start=finished.audio_start
        )


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("talk.wav", "pcm_s16le"),
        ("talk.flac", "flac"),
        ("talk.mp3", "libmp3lame"),
        ("talk.opus", "libopus"),
        ("talk.webm", "libopus"),
        ("talk.m4a", "aac"),
    ],
)
def test_interruptions_change_no_segment(
    service: MediaService, talk: Path, tmp_path: Path, name: str, codec: str
) -> None:
    samples, _ = soundfile.read(talk, dtype="float32")
    path = encode(samples, tmp_path / name, codec=codec)
    decoder = JobDecoder(ChecksumEngine(is_exact=codec != "aac"), window_s=8.0)
    decoder.prepare()

    whole = list(run(service, path, decoder, Checkpoint()))
    pieces = list(run_with_interruptions(service, path, decoder))

    assert len(whole) > 6
    assert [window.segments for window in pieces] == [window.segments for window in whole]
    assert [window.resume_sample for window in pieces] == [window.resume_sample for window in whole]
    late = [window.audio_start.seek_point for window in pieces if window.resume_sample > 20 * 16_000]
    assert all(point is not None for point in late)
