"""One job in the model process, from its order to its last report."""

import time
from collections import deque
from collections.abc import Callable

import msgspec

from shared.events import Partial
from shared.transcripts import FinishedWindow, WindowTranscript, main_language
from worker.engines.protocol import Row, RowFailure, RowStopped
from worker.model import messages
from worker.model.window_reader import PlacedWindow, WindowReader
from worker.partials import PartialThrottle

ALIVE_INTERVAL_S = 5.0
"""Seconds between two signs of life of a run that has nothing else to report, as in long silence."""

SendReport = Callable[[messages.Report], None]


class JobListener:
    """The listener of an engine for one run: sends partials, and returns whether to stop."""

    def __init__(self, run: int, send: SendReport, is_stopped: Callable[[], bool]) -> None:
        self._run = run
        self._send = send
        self._is_stopped = is_stopped
        self._alive_at = time.monotonic()
        self._partials = PartialThrottle(lambda partial: send(messages.PartialDecoded(run, partial)))

    def on_partial(self, window: int, delta: str, tail: str, language: str | None = None) -> None:
        """Send new text of a window, or join it to later text if the last partial was just sent."""
        self._partials.add(Partial(window, delta, tail, language))

    def discard_partials(self) -> None:
        """Drop the partials that wait, since their windows are finished."""
        self._partials.discard()

    def is_stopped(self) -> bool:
        """Return whether the engine must stop. Its calls also show that the process is alive."""
        now = time.monotonic()
        if now - self._alive_at >= ALIVE_INTERVAL_S:
            self._alive_at = now
            self._send(messages.AudioRead(self._run))
        return self._is_stopped()


class OpenRun:
    """One job in the model process, from its order to its last report.

    Its first batch has one window if `is_first_alone`, and a draft is made before if `is_draft_due`.
    """

    def __init__(
        self, order: messages.DecodeJob, reader: WindowReader, listener: JobListener, *, can_draft: bool
    ) -> None:
        self.order = order
        self.listener = listener
        self.is_draft_due = order.is_early_text_wanted and can_draft
        self._is_first_alone = order.is_early_text_wanted and not can_draft
        self._reader = reader
        self._language = order.checkpoint.language
        self._in_decoding: deque[PlacedWindow] = deque()
        self.is_leaving = False
        """Whether the run stops when its windows in decoding are done."""
        self.last_batch: object = None
        """The last batch with rows of this run."""
        self.is_slow = False
        """Whether the last batch began without waiting for a window of this run."""

    @property
    def in_decoding(self) -> int:
        """The number of windows that the engine decodes now."""
        return len(self._in_decoding)

    @property
    def ready(self) -> int:
        """The number of windows that the engine may take."""
        if self.is_leaving or self.listener.is_stopped():
            return 0
        return min(self._reader.ready, 1 if self._is_first_alone else self._reader.ready)

    @property
    def is_answered(self) -> bool:
        """Whether the next batch knows what to do about this run: it has a window, or is over."""
        return self._reader.ready > 0 or self._reader.is_ended or self.listener.is_stopped()

    @property
    def is_read_ahead(self) -> bool:
        """Whether no more windows would become ready for the next batch."""
        is_given = self._is_first_alone and self._reader.ready > 0
        return is_given or self._reader.is_ended or self.listener.is_stopped()

    def find_end(self) -> messages.RunReport | None:
        """Return the last report on this run if it is over."""
        run, cause = self.order.run, self._reader.cause
        if self.listener.is_stopped():
            return messages.JobStopped(run)
        if self._in_decoding:
            return None
        if self._reader.ready or not self._reader.is_ended:
            return messages.JobStopped(run) if self.is_leaving else None
        return describe_end(run, cause) if cause else messages.JobDecoded(run)

    def peek_row(self) -> Row:
        """Return the next row, which stays there."""
        return self._make_row(self._reader.peek())

    def take_rows(self, count: int) -> list[Row]:
        """Return the next rows."""
        self._is_first_alone = False
        taken = [self._reader.take() for _ in range(count)]
        self._in_decoding += taken
        return [self._make_row(placed) for placed in taken]

    def finish_window(
        self, transcript: WindowTranscript, *, joins_rows: bool, rows: int
    ) -> messages.WindowDecoded | messages.JobDecoded:
        """Return the report on the next window in decoding, one of `rows`.

        The last one comes with the end of the job. A run has no more rows in its batch once none is in
        decoding, unless the engine `joins_rows`.
        """
        placed = self._in_decoding.popleft()
        self._language = main_language(transcript.segments) or self._language
        finished = FinishedWindow(
            **msgspec.structs.asdict(transcript),
            window=placed.window.index,
            resume_sample=placed.window.end_sample,
            audio_start=placed.audio_start,
            rows=rows,
        )
        if placed.window.is_last:
            return messages.JobDecoded(self.order.run, finished)
        is_last_row = not (self._in_decoding or joins_rows)
        return messages.WindowDecoded(self.order.run, finished, is_last_row)

    def _make_row(self, placed: PlacedWindow) -> Row:
        return Row(placed.window, self.order.request, self.listener, self._language)

    def close(self) -> None:
        """Let the reader end."""
        self._reader.close()


def describe_end(run: int, cause: RowFailure | RowStopped) -> messages.RunReport:
    """Return the last report on a run that ended early."""
    if isinstance(cause, RowFailure):
        return messages.JobFailed(run, cause.code, cause.message)
    return messages.JobStopped(run)
