"""The rows of a batch belong to many jobs. Each job has its own order, reports, stop and failure."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
import pytest

from shared.audio_format import AudioStart
from shared.events import Partial
from shared.jobs import Checkpoint, Failure, FailureCode, Priority, TranscriptionRequest
from shared.media.pcm_frames import DecodingFailed
from shared.transcripts import (
    FinishedWindow,
    Segment,
    TokenCounts,
    TranscriptWarning,
    WarningCode,
    WindowTranscript,
)
from tests.support.decoder_driver import DecoderDriver
from tests.support.repeating_engine import RepeatingEngine
from worker.engines.protocol import (
    DecodingStopped,
    Row,
    RowFailure,
    RowOutcome,
    RowStopped,
    Samples,
    TakeRows,
    take_no_rows,
)
from worker.model import decoding, messages
from worker.model.open_run import JobListener
from worker.model.window_reader import watch_stops

ORDER = messages.DecodeJob(7, TranscriptionRequest(), Checkpoint(), is_early_text_wanted=False)
SEGMENT = Segment(0.0, 1.0, "The tide", "en")
WARNING = TranscriptWarning(WarningCode.TRUNCATED, "cut", 0.0, 1.0)
SECOND = np.zeros(16_000, np.float32)


@pytest.fixture(autouse=True)
def _wait_for_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine change no batch."""
    monkeypatch.setattr(decoding, "READ_PATIENCE_S", 30)


def order(run: int) -> messages.DecodeJob:
    return msgspec.structs.replace(ORDER, run=run)


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_window_is_reported_with_its_completeness_warnings_and_counts(*, is_complete: bool) -> None:
    counts = TokenCounts(text_input=9, audio_input=13, output=5)
    transcript = WindowTranscript((SEGMENT,), (WARNING,), is_complete=is_complete, token_counts=counts)
    bench = DecoderDriver(RepeatingEngine(transcript))
    bench.open(ORDER, [SECOND] * 3)

    *windows, last = bench.decode_all()

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
                rows=1 if index == 2 else 2,
            ),
            is_last_row=index > 0,  # of batches of two rows
        )
        for index, end in enumerate((16_000, 32_000, 48_000))
    ]
    assert last == messages.JobDecoded(7)


class DraftingEngine(RepeatingEngine):
    """An engine that also makes drafts."""

    def draft_row(self, row: Row) -> None:
        row.listener.on_partial(row.window.index, "", "draft", "en")


@pytest.mark.parametrize("is_wanted", [True, False])
def test_a_draft_of_the_first_window_is_sent_if_wanted(*, is_wanted: bool) -> None:
    bench = DecoderDriver(DraftingEngine(WindowTranscript((SEGMENT,))))
    bench.open(msgspec.structs.replace(ORDER, is_early_text_wanted=is_wanted), [SECOND] * 5)

    reports = bench.decode_all()

    drafts = [report for report in reports if isinstance(report, messages.PartialDecoded)]
    assert drafts == [messages.PartialDecoded(7, Partial(0, "", "draft", "en"))] * is_wanted


@pytest.mark.parametrize(("engine", "sizes"), [(RepeatingEngine(), [1, 2, 1]), (DraftingEngine(), [2, 2])])
def test_early_text_decodes_the_first_window_alone_unless_a_draft_brings_it(
    engine: RepeatingEngine, sizes: list[int]
) -> None:
    bench = DecoderDriver(engine)
    bench.open(msgspec.structs.replace(ORDER, is_early_text_wanted=True), [SECOND] * 4)
    bench.decode_all()
    assert list(map(len, engine.batches)) == sizes


def test_a_window_that_ends_with_the_audio_comes_with_the_end_of_the_job() -> None:
    bench = DecoderDriver(RepeatingEngine(WindowTranscript((SEGMENT,))))
    bench.open(ORDER, [np.zeros(24_000, np.float32)])

    first, end = bench.decode_all()

    assert isinstance(first, messages.WindowDecoded)
    assert isinstance(end, messages.JobDecoded)
    assert end.last is not None
    assert (first.finished.window, end.last.window, end.last.resume_sample) == (0, 1, 24_000)


def test_a_resumed_job_has_the_language_of_the_text_before() -> None:
    engine = RepeatingEngine(WindowTranscript((SEGMENT,)))
    bench = DecoderDriver(engine)
    bench.open(msgspec.structs.replace(ORDER, checkpoint=Checkpoint(4, 0, "de")), [SECOND] * 4)
    bench.decode_all()
    assert [row.previous_language for batch in engine.batches for row in batch] == ["de", "de", "en", "en"]


def test_a_batch_has_a_row_of_each_job_then_more_of_the_first() -> None:
    engine = RepeatingEngine(batch_windows=4)
    bench = DecoderDriver(engine)
    for run in (1, 2):
        bench.open(order(run), [SECOND] * 5)
    bench.open(order(3), [SECOND])
    bench.wait_for_readers()

    reports = bench.decode()

    windows = [report for report in reports if isinstance(report, messages.WindowDecoded)]
    assert [(report.run, report.is_last_row) for report in windows] == [
        (1, False),
        (1, True),
        (2, True),
        (3, True),
    ]
    assert reports[-1] == messages.JobDecoded(3)
    assert (bench.last.rows, bench.last.jobs, bench.last.audio_s) == (4, 3, 4.0)


def test_a_file_of_class_batch_gives_its_rows_up_to_interactive_jobs_except_for_one() -> None:
    engine = RepeatingEngine(batch_windows=8)
    bench = DecoderDriver(engine)
    bench.open(msgspec.structs.replace(order(1), priority=Priority.BATCH), [SECOND] * 9)
    bench.open(order(2), [SECOND] * 4)
    bench.wait_for_readers()

    reports = bench.decode()

    assert messages.JobDecoded(2) in reports
    assert (bench.last.rows, bench.last.jobs) == (8, 2)


def test_a_batch_has_at_most_the_rows_that_were_ordered() -> None:
    engine = RepeatingEngine(batch_windows=4)
    bench = DecoderDriver(engine)
    bench.open(order(1), [SECOND] * 5)
    bench.open(order(2), [SECOND] * 5)
    bench.decode(max_rows=2)
    assert [row.window.index for row in engine.batches[0]] == [0, 0]


class FaultyEngine(RepeatingEngine):
    """An engine whose second row of each batch has another outcome."""

    def __init__(self, outcome: RowOutcome) -> None:
        super().__init__(batch_windows=4)
        self._outcome = outcome

    def decode(self, row: Row) -> RowOutcome:
        return self._outcome if row is self.batches[-1][1] else super().decode(row)


@pytest.mark.parametrize(
    ("outcome", "end"),
    [
        (
            RowFailure(FailureCode.ENGINE_ERROR, "broken"),
            messages.JobFailed(2, FailureCode.ENGINE_ERROR, "broken"),
        ),
        (RowStopped(), messages.JobStopped(2)),
    ],
)
def test_a_row_that_fails_or_stops_ends_its_job_alone(outcome: RowOutcome, end: messages.RunReport) -> None:
    bench = DecoderDriver(FaultyEngine(outcome))
    for run in (1, 2, 3):
        bench.open(order(run), [SECOND])
    bench.wait_for_readers()
    reports = bench.decode()
    ends = [report for report in reports if not isinstance(report, messages.WindowDecoded)]
    assert ends == [messages.JobDecoded(1), end, messages.JobDecoded(3)]


class BrokenEngine(RepeatingEngine):
    """An engine that raises an error in the middle of a batch."""

    def decode_rows(
        self, rows: Sequence[Row], take_more: TakeRows = take_no_rows
    ) -> Iterator[tuple[Row, RowOutcome]]:
        first, *_ = rows
        yield first, self.decode(first)
        raise RuntimeError("broken")


def test_an_error_of_the_engine_fails_the_jobs_that_have_not_ended() -> None:
    bench = DecoderDriver(BrokenEngine())
    for run in (1, 2):
        bench.open(order(run), [SECOND])
    failure = messages.JobFailed(2, FailureCode.ENGINE_ERROR, "The engine failed: broken")
    assert bench.decode()[1:] == [messages.JobDecoded(1), failure]


def test_a_stopped_job_gets_no_more_rows() -> None:
    engine = RepeatingEngine()
    bench = DecoderDriver(engine)
    for run in (1, 2):
        bench.open(order(run), [SECOND] * 4)
    bench.decode()
    bench.stopped.add(1)
    assert bench.decode()[0] == messages.JobStopped(1)
    assert [row.window.index for row in engine.batches[-1]] == [1, 2]


def fail_after(seconds: int) -> Iterator[Samples]:
    yield from [SECOND] * seconds
    raise DecodingFailed(Failure(FailureCode.AUDIO_UNDECODABLE, "damaged"))


def test_audio_that_breaks_off_is_decoded_first() -> None:
    bench = DecoderDriver(RepeatingEngine())
    bench.open(order(1), fail_after(2))
    reports = bench.decode_all()
    assert list(map(type, reports)) == [messages.WindowDecoded, messages.JobFailed]
    assert reports[-1] == messages.JobFailed(1, FailureCode.AUDIO_UNDECODABLE, "damaged")


def wait_in_silence(is_free: threading.Event) -> Iterator[Samples]:
    is_free.wait(30)
    yield SECOND


def test_a_job_in_long_silence_does_not_keep_the_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "READ_PATIENCE_S", 0.1)
    engine = RepeatingEngine(batch_windows=4)
    bench = DecoderDriver(engine)
    is_free = threading.Event()
    bench.open(order(1), wait_in_silence(is_free))
    bench.open(order(2), [SECOND])
    assert bench.decode()[-1] == messages.JobDecoded(2)
    is_free.set()
    assert bench.decode_all()[-1] == messages.JobDecoded(1)


def test_silence_is_stopped_in_time_and_sends_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.model.open_run.ALIVE_INTERVAL_S", 0)
    sent: list[messages.Report] = []
    listener = JobListener(7, sent.append, lambda: len(sent) == 3)
    with pytest.raises(DecodingStopped):
        list(watch_stops([SECOND] * 10, listener.is_stopped))
    assert sent == [messages.AudioRead(7)] * 3


class JoiningEngine(RepeatingEngine):
    """An engine that decodes one row after the other, and records the rows that join."""

    def __init__(self, *, batch_windows: int = 4) -> None:
        super().__init__(batch_windows=batch_windows)
        self.joins_rows = True
        self.joined: list[tuple[int, int]] = []
        """The number of samples and the index of each window that joined."""
        self.after_row: Callable[[int], None] = lambda _count: None
        self.wait: Callable[[], None] = lambda: None

    def decode_rows(
        self, rows: Sequence[Row], take_more: TakeRows = take_no_rows
    ) -> Iterator[tuple[Row, RowOutcome]]:
        in_decoding, count = deque(rows), 0
        while in_decoding:
            row = in_decoding.popleft()
            yield row, self.decode(row)
            count += 1
            self.after_row(count)
            self.wait()
            joined = take_more(self.batch_windows - len(in_decoding))
            self.joined += [(len(one.window.samples), one.window.index) for one in joined]
            in_decoding += joined
            assert len(in_decoding) <= self.batch_windows


def open_joining(engine: JoiningEngine, *windows: int) -> DecoderDriver:
    """Open runs 1, 2 … with so many windows. Before each call of `take_more`, their readers are ahead."""
    bench = DecoderDriver(engine)
    for run, count in enumerate(windows, start=1):
        bench.open(order(run), [SECOND] * count)
    bench.wait_for_readers()
    engine.wait = bench.wait_for_readers
    return bench


def read_runs(reports: Sequence[messages.Report]) -> list[int]:
    """Return the run of each finished window."""
    finished = (messages.WindowDecoded, messages.JobDecoded)
    return [report.run for report in reports if isinstance(report, finished)]


def test_further_windows_join_a_batch_which_lasts_until_no_job_has_one() -> None:
    engine = JoiningEngine()
    bench = open_joining(engine, 9)

    reports = bench.decode()

    assert [index for _, index in engine.joined] == [4, 5, 6, 7, 8]
    assert reports[-1] == messages.JobDecoded(1)
    assert (bench.last.rows, bench.last.jobs, bench.last.audio_s) == (9, 1, 9.0)
    assert [report.rows for report in bench.sent if isinstance(report, messages.RowsJoined)] == [4] * 6


def test_a_job_that_begins_during_a_batch_takes_the_next_free_row() -> None:
    engine = JoiningEngine()
    bench = open_joining(engine, 12)

    def open_clip() -> None:
        bench.open(order(2), [SECOND])
        bench.wait_for_readers()

    def begin(count: int) -> None:
        if count == 1:
            bench.pending.append(open_clip)

    engine.after_row = begin
    runs = read_runs(bench.decode())

    assert runs.index(2) == 4  # after the row that was free, and three more in decoding
    assert runs[-1] == 1


def test_some_rows_stay_free_for_jobs_that_begin_later() -> None:
    engine = JoiningEngine(batch_windows=16)
    bench = open_joining(engine, 40)

    reports = bench.decode()

    in_decoding = [report.rows for report in bench.sent if isinstance(report, messages.RowsJoined)]
    assert set(in_decoding) == {14}
    assert reports[-1] == messages.JobDecoded(1)


def test_a_job_that_leaves_during_a_batch_finishes_its_windows_in_decoding() -> None:
    engine = JoiningEngine()
    bench = open_joining(engine, 12, 6)

    def leave(count: int) -> None:
        if count == 1:
            bench.pending.append(lambda: bench.stop_after_windows(1))

    engine.after_row = leave
    reports = bench.decode()

    passing = (messages.WindowDecoded, messages.RowsJoined)
    ends = [report for report in reports if not isinstance(report, passing)]
    assert ends == [messages.JobStopped(1), messages.JobDecoded(2)]
    assert read_runs(reports) == [1, 1, 1, *[2] * 7]


def test_a_job_that_leaves_without_windows_in_decoding_ends_at_once() -> None:
    engine = JoiningEngine()
    bench = DecoderDriver(engine)
    is_free = threading.Event()
    bench.open(order(1), wait_in_silence(is_free))
    bench.open(order(2), [SECOND] * 2)
    bench.pending.append(lambda: bench.stop_after_windows(1))

    reports = bench.decode()
    while not isinstance(reports[-1], messages.JobDecoded):
        reports += bench.decode()

    assert reports[0] == messages.JobStopped(1)
    is_free.set()
