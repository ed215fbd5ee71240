"""The decoding of batches in the model process: rows of all open runs go to the engine, reports come out."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import FailureCode, Priority
from shared.transcripts import WindowTranscript
from worker.engines.protocol import (
    DecodingStopped,
    DraftingEngine,
    Engine,
    Row,
    RowOutcome,
)
from worker.model import messages
from worker.model.open_run import JobListener, OpenRun, SendReport, describe_end
from worker.model.window_reader import WindowReader

READ_PATIENCE_S = 0.25
"""Seconds without a new window after which a batch begins with the windows that are ready."""

_END_PATIENCE_S = 0.02
"""Seconds that the end of a batch waits for readers, so that a run whose last window is done ends with it."""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PendingOrders:
    """The orders that arrive during a batch. `changed` is notified of each."""

    is_waiting: Callable[[], bool]
    follow_next: Callable[[], None]

    def follow(self) -> None:
        """Follow the orders that are here."""
        while self.is_waiting():
            self.follow_next()


@dataclass(slots=True, eq=False)
class _Batch:
    """The amounts that were decoded since the host ordered the batch, and the orders that came since."""

    orders: PendingOrders
    rows: int = 0
    jobs: int = 0
    samples: int = 0

    def count(self, runs: Iterable[OpenRun], rows: Sequence[Row]) -> None:
        """Count these rows, and the jobs that are new in the batch."""
        for run in runs:
            self.jobs += run.last_batch is not self
            run.last_batch = self
        self.rows += len(rows)
        self.samples += sum(len(row.window.samples) for row in rows)


class BatchDecoder:
    """The open runs, and the batches of their rows.

    `changed` guards the readers of all runs. It is notified of their windows, and of orders.
    """

    def __init__(self, engine: Engine, send: SendReport, changed: threading.Condition) -> None:
        self._engine = engine
        self._send = send
        self._changed = changed
        self._runs: dict[int, OpenRun] = {}
        self._rows = 0  # in decoding when rows were last taken

    @property
    def max_ahead(self) -> int:
        """The windows that the reader of one more run may keep, so that all together have bounded memory."""
        return max(2, self._engine.batch_windows // (len(self._runs) + 1))

    def open_run(self, order: messages.DecodeJob, reader: WindowReader, listener: JobListener) -> None:
        """Let the engine have rows of this job."""
        can_draft = isinstance(self._engine, DraftingEngine)
        self._runs[order.run] = OpenRun(order, reader, listener, can_draft=can_draft)

    def stop_run(self, number: int) -> None:
        """Give the engine no more rows of a run, and report it as stopped when it has none in decoding."""
        if (run := self._runs.get(number)) is not None:
            run.is_leaving = True
            if not run.in_decoding:
                self._end(run, messages.JobStopped(number))

    def decode_batch(self, max_rows: int, orders: PendingOrders) -> messages.BatchDecoded:
        """Decode one batch, and report its windows and all runs that end. `max_rows` of 0 is no limit."""
        began_at = time.monotonic()
        batch = _Batch(orders)
        limit = min(max_rows or self._engine.batch_windows, self._engine.batch_windows)
        self._wait_for_any(orders)
        self._draft()
        if not self._engine.joins_rows:
            self._wait_for_windows(limit)
        self._end_finished_runs()
        rows = self._take_rows(batch, limit)
        if rows:
            self._decode(rows, batch)
            self._wait_for_ends()
            self._end_finished_runs()
            _name_jobs()
        return messages.BatchDecoded(
            rows=batch.rows,
            jobs=batch.jobs,
            audio_s=round(batch.samples / SAMPLE_RATE_HZ, 3),
            took_s=round(time.monotonic() - began_at, 3),
            max_rows=self._engine.batch_windows,
        )

    def _wait_for_any(self, orders: PendingOrders) -> None:
        """Wait until the batch has something to do. Meanwhile jobs may begin, if rows can join."""

        def is_joined() -> bool:
            return self._engine.joins_rows and orders.is_waiting()

        def is_any_answered() -> bool:
            return not self._runs or any(run.is_answered for run in self._runs.values())

        while True:
            with self._changed:
                self._changed.wait_for(lambda: is_joined() or is_any_answered())
            if not is_joined():
                return
            orders.follow()

    def _wait_for_windows(self, limit: int) -> None:
        """Wait until the batch is full, or until no new window comes for READ_PATIENCE_S."""
        with self._changed:
            ready = -1
            while ready < (ready := self._count_ready()) and not self._is_full(limit):
                self._changed.wait_for(partial(self._has_more, ready, limit), READ_PATIENCE_S)
            for run in self._runs.values():
                run.is_slow = not run.is_answered

    def _has_more(self, ready: int, limit: int) -> bool:
        return self._is_full(limit) or self._count_ready() > ready

    def _is_full(self, limit: int) -> bool:
        waited = [run for run in self._runs.values() if not run.is_slow or run.is_answered]
        is_each_in = all(run.is_answered for run in waited)
        return is_each_in and (self._count_ready() >= limit or all(run.is_read_ahead for run in waited))

    def _count_ready(self) -> int:
        return sum(run.ready for run in self._runs.values())

    def _take_more(self, batch: _Batch, free_rows: int) -> list[Row]:
        """Let jobs begin and leave during the batch, and return at most so many rows that are ready."""
        batch.orders.follow()
        self._end_finished_runs()
        return self._take_rows(batch, free_rows)

    def _take_rows(self, batch: _Batch, limit: int) -> list[Row]:
        """Return at most `limit` rows: one of each run without rows in decoding, then more of each in turn.

        Batch jobs get more only after interactive ones. If rows can join, some stay free for runs that begin
        later.
        """
        with self._changed:
            ready = {run: run.ready for run in self._runs.values() if run.ready}
            counts = dict.fromkeys([run for run in ready if not run.in_decoding][:limit], 1)
            spare = limit - len(counts) - (self._engine.batch_windows // 8 if self._engine.joins_rows else 0)
            for run in sorted(ready, key=lambda run: run.order.priority is Priority.BATCH):
                more = min(spare, ready[run] - counts.get(run, 0))
                if more > 0:
                    counts[run] = counts.get(run, 0) + more
                    spare -= more
            rows = [row for run, count in counts.items() for row in run.take_rows(count)]
        if rows:
            batch.count(counts, rows)
            _name_jobs([run.order.job_id for run in self._runs.values() if run.in_decoding])
            self._rows = sum(run.in_decoding for run in self._runs.values())
            self._send(messages.RowsJoined(self._rows))
        return rows

    def _draft(self) -> None:
        """Publish drafts of first windows, before further ones are read."""
        if not isinstance(self._engine, DraftingEngine):
            return
        for run in self._runs.values():
            if run.is_draft_due and run.ready:
                run.is_draft_due = False
                with suppress(DecodingStopped):
                    self._engine.draft_row(run.peek_row())

    def _decode(self, rows: Sequence[Row], batch: _Batch) -> None:
        try:
            for row, outcome in self._engine.decode_rows(rows, partial(self._take_more, batch)):
                self._settle(row, outcome)
        except Exception as error:  # border: an error of the engine fails its jobs, not the process
            _logger.exception("engine_failed")
            for run in [run for run in self._runs.values() if run.in_decoding]:
                message = f"The engine failed: {error}"
                self._end(run, messages.JobFailed(run.order.run, FailureCode.ENGINE_ERROR, message))

    def _settle(self, row: Row, outcome: RowOutcome) -> None:
        """Report the outcome of the next row of a run, unless the run has ended with an earlier row."""
        run = next((run for run in self._runs.values() if run.listener is row.listener), None)
        if run is None:
            return
        if not isinstance(outcome, WindowTranscript):
            self._end(run, describe_end(run.order.run, outcome))
            return
        run.listener.discard_partials()
        report = run.finish_window(outcome, joins_rows=self._engine.joins_rows, rows=self._rows)
        if isinstance(report, messages.JobDecoded):
            self._end(run, report)
            return
        self._send(report)
        if (end := run.find_end()) is not None:
            self._end(run, end)

    def _wait_for_ends(self) -> None:
        with self._changed:
            runs = [run for run in self._runs.values() if not run.is_slow]
            self._changed.wait_for(lambda: all(run.is_answered for run in runs), _END_PATIENCE_S)

    def _end_finished_runs(self) -> None:
        """End the runs without a window left. The engine stops those with windows in decoding."""
        for run in list(self._runs.values()):
            if not run.in_decoding and (end := run.find_end()) is not None:
                self._end(run, end)

    def _end(self, run: OpenRun, report: messages.RunReport) -> None:
        del self._runs[run.order.run]
        with self._changed:
            run.close()
        self._send(report)


def _name_jobs(names: Sequence[str] = ()) -> None:
    """Name the jobs in decoding in all lines that are logged from now on."""
    structlog.contextvars.unbind_contextvars("job_id", "job_ids")
    if len(names) == 1:
        structlog.contextvars.bind_contextvars(job_id=names[0])
    elif names:
        structlog.contextvars.bind_contextvars(job_ids=",".join(names))
