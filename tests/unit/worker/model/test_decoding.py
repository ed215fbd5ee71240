"""What an engine makes of a window reaches the worker whole, over the wire between their processes."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jobs import Checkpoint, TranscriptionRequest
from shared.transcripts import Segment, TokenCounts, TranscriptWarning, WarningCode
from tests.support.repeating_engine import RepeatingEngine
from worker.engines.protocol import DecodingListener, DecodingStopped, Window, WindowTranscript
from worker.model import messages
from worker.model.decoding import PARTIAL_INTERVAL_S, JobDecoder, JobListener

ORDER = messages.DecodeJob(7, TranscriptionRequest(), Checkpoint(), is_early_text_wanted=False)
SEGMENT = Segment(0.0, 1.0, "The tide", "en")
WARNING = TranscriptWarning(WarningCode.TRUNCATED, "cut", 0.0, 1.0)


def decode(transcript: WindowTranscript, *, seconds: int) -> list[messages.Report]:
    """The reports on `seconds` of audio in windows of one second, as they arrive."""
    decoder = JobDecoder(RepeatingEngine(transcript), window_s=1, first_window_s=1)
    listener = JobListener(ORDER.run, lambda _: None, lambda: False)
    blocks = [np.zeros(16_000, np.float32)] * seconds
    return [
        messages.decode_report(messages.encode_message(report))
        for report in decoder.decode(ORDER, blocks, listener)
    ]


@pytest.mark.parametrize("is_complete", [True, False])
def test_whether_a_window_is_complete_is_reported_with_all_that_is_said_of_it(*, is_complete: bool) -> None:
    counts = TokenCounts(text_input=9, audio_input=13, output=5)
    transcript = WindowTranscript((SEGMENT,), (WARNING,), is_complete=is_complete, token_counts=counts)

    *windows, last = decode(transcript, seconds=3)

    assert windows == [
        messages.WindowDecoded(7, index, (index + 1) * 16_000, (SEGMENT,), (WARNING,), is_complete, counts)
        for index in range(3)
    ]
    assert last == messages.JobDecoded(7)


class DraftingEngine(RepeatingEngine):
    """Makes drafts as well."""

    def draft_window(self, window: Window, request: TranscriptionRequest, listener: DecodingListener) -> None:
        listener.on_partial(window.index, "", "draft", "en")


@pytest.mark.parametrize("is_wanted", [True, False])
def test_a_draft_of_the_first_window_is_told_where_it_is_wanted(*, is_wanted: bool) -> None:
    order = msgspec.structs.replace(ORDER, is_draft_wanted=is_wanted)
    decoder = JobDecoder(DraftingEngine(WindowTranscript((SEGMENT,))), window_s=1, first_window_s=1)
    listener, sent = listen()

    list(decoder.decode(order, [np.zeros(16_000, np.float32)] * 5, listener))

    assert sent == [messages.PartialDecoded(7, 0, "", "draft", "en")] * is_wanted


def listen() -> tuple[JobListener, list[messages.Report]]:
    sent: list[messages.Report] = []
    return JobListener(ORDER.run, sent.append, lambda: False), sent


def test_partials_that_come_fast_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    listener, sent = listen()
    listener.on_partial(0, "The", "", "en")
    listener.on_partial(0, " tide", "", "en")
    monkeypatch.setattr("worker.model.decoding.PARTIAL_INTERVAL_S", 0)
    listener.on_partial(0, " is", "out", "en")
    assert sent == [
        messages.PartialDecoded(7, 0, "The", "", "en"),
        messages.PartialDecoded(7, 0, " tide is", "out", "en"),
    ]


def test_what_was_kept_of_a_window_is_sent_before_text_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    listener, sent = listen()
    listener.on_partial(0, "The", "")
    listener.on_partial(0, " tide", "")
    monkeypatch.setattr("worker.model.decoding.PARTIAL_INTERVAL_S", 0)
    listener.on_partial(1, "Out", "")
    assert sent[1:] == [
        messages.PartialDecoded(7, 0, " tide", ""),
        messages.PartialDecoded(7, 1, "Out", ""),
    ]


def test_nothing_is_sent_any_more_of_a_window_that_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    listener, sent = listen()
    listener.on_partial(0, "The", "")
    listener.on_partial(0, " tide", "")
    listener.forget_unsent()
    monkeypatch.setattr("worker.model.decoding.PARTIAL_INTERVAL_S", 0)
    listener.on_partial(1, "Out", "")
    assert sent[1:] == [messages.PartialDecoded(7, 1, "Out", "")]


class Clock:
    """Says what time it is, as it is told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


BATCH = 16


@pytest.mark.parametrize("step_s", [0.001, 0.013, 0.05, 0.09, 0.5, 2.0])
def test_of_a_batch_of_many_windows_no_more_partials_are_sent_than_of_one(step_s: float) -> None:
    clock = Clock()
    times: list[float] = []
    listener = JobListener(7, lambda _: times.append(clock.now_s), lambda: False, clock=clock)
    steps = round(10 / step_s)

    for step in range(steps):
        clock.now_s = 100 + step * step_s
        for window in range(BATCH):
            listener.on_partial(window, " tide" if window == 0 else "", f"out {step}")

    assert len(times) <= 1 + 10 / PARTIAL_INTERVAL_S
    assert len(times) >= min(BATCH / step_s, 1 / PARTIAL_INTERVAL_S) * (10 - 2 * step_s)


def test_windows_of_a_batch_are_told_of_by_turns_and_the_one_that_grows_is_not_late() -> None:
    clock = Clock()
    sent: list[messages.Report] = []
    listener = JobListener(7, sent.append, lambda: False, clock=clock)

    for step in range(2 * BATCH):
        clock.now_s += 1.01 * PARTIAL_INTERVAL_S
        for window in range(BATCH):
            listener.on_partial(window, " tide" if window == 0 else "", f"out {step}")

    told = [
        (partial.window, partial.tail) for partial in sent if isinstance(partial, messages.PartialDecoded)
    ]
    growing = [tail for window, tail in told if window == 0]
    assert growing == [f"out {step}" for step in range(0, 2 * BATCH, 2)]
    assert {window for window, _ in told} == set(range(BATCH))


Growth = tuple[int, list[str], float]
growths = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.sampled_from(["a", "b", ""]), max_size=3), st.floats(0, 0.2)),
    max_size=60,
)


@given(growths)
def test_text_that_stays_has_no_hole_and_never_goes_on_before_the_windows_ahead_are_complete(
    growths: list[Growth],
) -> None:
    clock = Clock()
    sent: list[messages.Report] = []
    listener = JobListener(7, sent.append, lambda: False, clock=clock)
    said = dict.fromkeys(range(200), "")
    open_window = 0

    for number, (ahead, deltas, pause_s) in enumerate(growths):
        clock.now_s += pause_s
        listener.on_partial(open_window + ahead, "", f"tail {number}")
        for delta in deltas:
            said[open_window] += delta
            listener.on_partial(open_window, delta, f"tail {number}")
        open_window += ahead == 0
    flush(listener, clock, window=open_window)

    heard = dict.fromkeys(said, "")
    for partial in sent:
        assert isinstance(partial, messages.PartialDecoded)
        heard[partial.window] += partial.delta
        complete = range(partial.window if partial.delta else 0)
        assert all(heard[window] == said[window] for window in complete)
    assert heard == said


def flush(listener: JobListener, clock: Clock, *, window: int) -> None:
    """Wait for so long that all is sent which waits."""
    clock.now_s += 1000
    listener.on_partial(window, "", "the end")


def test_a_job_that_goes_on_knows_the_language_of_the_text_before() -> None:
    engine = RepeatingEngine(WindowTranscript((SEGMENT,)))
    order = msgspec.structs.replace(ORDER, checkpoint=Checkpoint(4, 0, "de"))
    decoder = JobDecoder(engine, window_s=1, first_window_s=1)
    listener = JobListener(ORDER.run, lambda _: None, lambda: False)
    list(decoder.decode(order, [np.zeros(16_000, np.float32)] * 4, listener))
    assert engine.previous_languages == ["de", "en"]


def test_leave_is_asked_between_batches_when_what_was_decoded_has_been_reported() -> None:
    heard: list[object] = []
    decoder = JobDecoder(RepeatingEngine(), window_s=1, first_window_s=1)
    listener = JobListener(ORDER.run, lambda _: None, lambda: False, lambda: heard.append("leave"))
    for report in decoder.decode(ORDER, [np.zeros(16_000, np.float32)] * 5, listener):
        heard.append(type(report))  # noqa: PERF401 - in between others are appended
    window, done = messages.WindowDecoded, messages.JobDecoded
    assert heard == [window, window, "leave", window, window, "leave", window, done]


def test_a_stop_is_heard_and_life_is_shown_while_there_is_nothing_to_decode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.model.decoding.ALIVE_INTERVAL_S", 0)
    sent: list[messages.Report] = []
    listener = JobListener(ORDER.run, sent.append, lambda: len(sent) == 3)
    with pytest.raises(DecodingStopped):
        list(listener.watch([np.zeros(16_000, np.float32)] * 10))
    assert sent == [messages.AudioRead(ORDER.run)] * 3
