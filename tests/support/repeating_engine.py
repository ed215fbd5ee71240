"""An engine with the same transcript for every window, for tests of the model process around it."""

from collections.abc import Iterator, Sequence

from shared.transcripts import WindowTranscript
from worker.engines.protocol import PhaseReporter, Row, RowOutcome, TakeRows, take_no_rows

NOTHING = WindowTranscript(())


class RepeatingEngine:
    """An engine with one transcript, by default empty, that records its batches."""

    def __init__(
        self, transcript: WindowTranscript = NOTHING, *, batch_windows: int = 2, needs_speech: bool = False
    ) -> None:
        self.batch_windows = batch_windows
        self.needs_speech = needs_speech
        self.joins_rows = False
        self.batches: list[Sequence[Row]] = []
        self._transcript = transcript

    def load(self, report_phase: PhaseReporter) -> str:
        """There is nothing to load."""
        report_phase("nothing to load")
        return "cpu"

    def decode_rows(
        self, rows: Sequence[Row], take_more: TakeRows = take_no_rows
    ) -> Iterator[tuple[Row, RowOutcome]]:
        """The transcript, as often as there are rows."""
        self.batches.append(rows)
        for row in rows:
            yield row, self.decode(row)

    def decode(self, row: Row) -> RowOutcome:
        """The outcome of one row."""
        return self._transcript
