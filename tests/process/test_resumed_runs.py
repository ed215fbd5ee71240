"""A job that is interrupted after each window has the segments of an uninterrupted one."""

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from shared.jobs import Checkpoint, TranscriptionRequest
from shared.media.client import MediaService
from shared.media.samples import read_pcm
from shared.transcripts import FinishedWindow, Segment
from tests.process.media_driver import make_service, start_decoding
from tests.support.media_files import CLIPS, encode
from worker.engines.protocol import Window
from worker.model import messages
from worker.model.window_reader import WindowCutter


def describe(window: Window, *, is_exact: bool) -> Segment:
    """Return a segment whose text is the checksum of the samples; without `is_exact`, their number."""
    text = zlib.crc32(window.samples.tobytes()) if is_exact else len(window.samples)
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


Read = Callable[[Checkpoint], Iterator[FinishedWindow]]


def make_reader(service: MediaService, path: Path, cutter: WindowCutter, *, is_exact: bool) -> Read:
    """Return a function that yields the windows of a claim, as the worker stores them."""

    def read(checkpoint: Checkpoint) -> Iterator[FinishedWindow]:
        order = messages.DecodeJob(1, TranscriptionRequest(), checkpoint, is_early_text_wanted=False)
        with start_decoding(service, path, start=checkpoint.audio_start) as reading:
            for placed in cutter.cut(order, read_pcm(reading)):
                finished = FinishedWindow(
                    (describe(placed.window, is_exact=is_exact),),
                    window=placed.window.index,
                    resume_sample=placed.window.end_sample,
                    audio_start=placed.audio_start,
                )
                yield msgspec.json.decode(msgspec.json.encode(finished), type=FinishedWindow)

    return read


def read_with_interruptions(read: Read) -> Iterator[FinishedWindow]:
    """Yield the windows of a job that resumes after each of them."""
    checkpoint = Checkpoint()
    while (finished := next(read(checkpoint), None)) is not None:
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
    cutter = WindowCutter(window_s=8.0)
    cutter.load_vad()
    read = make_reader(service, path, cutter, is_exact=codec != "aac")

    whole = list(read(Checkpoint()))
    pieces = list(read_with_interruptions(read))

    assert len(whole) > 6
    assert [window.segments for window in pieces] == [window.segments for window in whole]
    assert [window.resume_sample for window in pieces] == [window.resume_sample for window in whole]
    late = [window.audio_start.seek_point for window in pieces if window.resume_sample > 20 * 16_000]
    assert all(point is not None for point in late)
