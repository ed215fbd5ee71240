"""An engine's transcript of a window reaches the worker complete, as messages between their processes."""

import msgspec
import numpy as np
import pytest

from shared.audio_format import AudioStart
from shared.events import Partial
from shared.jobs import Checkpoint, TranscriptionRequest
from shared.transcripts import (
    FinishedWindow,
    Segment,
    TokenCounts,
    TranscriptWarning,
    WarningCode,
    WindowTranscript,
)
from tests.support.repeating_engine import RepeatingEngine
from worker.engines.protocol import DecodingListener, DecodingStopped, Window
from worker.model import messages
from worker.model.decoding import JobDecoder, JobListener

ORDER = messages.DecodeJob(7, TranscriptionRequest(), Checkpoint(), is_early_text_wanted=False)
SEGMENT = Segment(0.0, 1.0, "The tide", "en")
WARNING = TranscriptWarning(WarningCode.TRUNCATED, "cut", 0.0, 1.0)


def decode(transcript: WindowTranscript, *, seconds: int) -> list[messages.Report]:
    """Return the reports on `seconds` of audio in windows of one second, as they arrive."""
    decoder = JobDecoder(RepeatingEngine(transcript), window_s=1)
    listener = JobListener(ORDER.run, lambda _: None, is_stopped=lambda: False)
    blocks = [np.zeros(16_000, np.float32)] * seconds
    return [
        messages.report_decoder.decode(msgspec.json.encode(report))
        for report in decoder.decode(ORDER, blocks, listener)
    ]


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_window_is_reported_with_its_completeness_warnings_and_counts(*, is_complete: bool) -> None:
    counts = TokenCounts(text_input=9, audio_input=13, output=5)
    transcript = WindowTranscript((SEGMENT,), (WARNING,), is_complete=is_complete, token_counts=counts)

    *windows, last = decode(transcript, seconds=3)

    assert windows == [
        messages.WindowDecoded(
            7,
            FinishedWindow(
                (SEGMENT,),
                (WARNING,),
                is_complete,
                counts,
                window=index,
                resume_sample=end,
                audio_start=AudioStart(end),
            ),
        )
        for index, end in enumerate((16_000, 32_000, 48_000))
    ]
    assert last == messages.JobDecoded(7)


def test_a_window_that_ends_with_the_audio_comes_with_the_end_of_the_job() -> None:
    decoder = JobDecoder(RepeatingEngine(WindowTranscript((SEGMENT,))), window_s=1)
    listener = JobListener(ORDER.run, lambda _: None, is_stopped=lambda: False)

    first, end = decoder.decode(ORDER, [np.zeros(24_000, np.float32)], listener)

    assert isinstance(first, messages.WindowDecoded)
    assert isinstance(end, messages.JobDecoded)
    assert end.last is not None
    assert (first.finished.window, end.last.window, end.last.resume_sample) == (0, 1, 24_000)


class DraftingEngine(RepeatingEngine):
    """An engine that also makes drafts."""

    def draft_window(self, window: Window, request: TranscriptionRequest, listener: DecodingListener) -> None:
        listener.on_partial(window.index, "", "draft", "en")


@pytest.mark.parametrize("is_wanted", [True, False])
def test_a_draft_of_the_first_window_is_sent_if_wanted(*, is_wanted: bool) -> None:
    order = msgspec.structs.replace(ORDER, is_early_text_wanted=is_wanted)
    decoder = JobDecoder(DraftingEngine(WindowTranscript((SEGMENT,))), window_s=1)
    listener, sent = listen()

    list(decoder.decode(order, [np.zeros(16_000, np.float32)] * 5, listener))

    assert sent == [messages.PartialDecoded(7, Partial(0, "", "draft", "en"))] * is_wanted


@pytest.mark.parametrize(("engine", "batches"), [(RepeatingEngine(), 3), (DraftingEngine(), 2)])
def test_early_text_decodes_the_first_window_alone_unless_a_draft_brings_it(
    engine: RepeatingEngine, batches: int
) -> None:
    order = msgspec.structs.replace(ORDER, is_early_text_wanted=True)
    listener, _ = listen()
    list(JobDecoder(engine, window_s=1).decode(order, [np.zeros(16_000, np.float32)] * 4, listener))
    assert len(engine.previous_languages) == batches


def listen() -> tuple[JobListener, list[messages.Report]]:
    sent: list[messages.Report] = []
    return JobListener(ORDER.run, sent.append, is_stopped=lambda: False), sent


def test_a_resumed_job_has_the_language_of_the_text_before() -> None:
    engine = RepeatingEngine(WindowTranscript((SEGMENT,)))
    order = msgspec.structs.replace(ORDER, checkpoint=Checkpoint(4, 0, "de"))
    decoder = JobDecoder(engine, window_s=1)
    listener = JobListener(ORDER.run, lambda _: None, is_stopped=lambda: False)
    list(decoder.decode(order, [np.zeros(16_000, np.float32)] * 4, listener))
    assert engine.previous_languages == ["de", "en"]


def test_a_batch_waits_until_all_decoded_windows_are_reported() -> None:
    heard: list[object] = []
    decoder = JobDecoder(RepeatingEngine(), window_s=1)
    listener = JobListener(
        ORDER.run,
        lambda _: None,
        is_stopped=lambda: False,
        wait_to_continue=lambda: heard.append("asked"),
    )
    for report in decoder.decode(ORDER, [np.zeros(16_000, np.float32)] * 5, listener):
        heard.append(type(report))  # noqa: PERF401 - in between others are appended
    window, done = messages.WindowDecoded, messages.JobDecoded
    assert heard == [window, window, "asked", window, window, "asked", window, done]


def test_silence_is_stopped_in_time_and_sends_signs_of_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.model.decoding.ALIVE_INTERVAL_S", 0)
    sent: list[messages.Report] = []
    listener = JobListener(ORDER.run, sent.append, is_stopped=lambda: len(sent) == 3)
    with pytest.raises(DecodingStopped):
        list(listener.watch([np.zeros(16_000, np.float32)] * 10))
    assert sent == [messages.AudioRead(ORDER.run)] * 3
