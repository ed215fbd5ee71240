"""The decoding of batches in the model process: rows of all open runs go to the engine, reports come out."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

import structlog

from shared.audio_format import SAMPLE_RATE_HZ
from shared.jobs import FailureCode
from shared.transcripts import WindowTranscript
from worker.engines.protocol import (
    DecodingStopped,
    DraftingEngine,
    Engine,
    Row,
    RowFailure,
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


class BatchDecoder:
    """The open runs, and the batches of their rows.

    `changed` guards the readers of all runs. It is notified of their windows, and of stops.
    """

    def __init__(self, engine: Engine, send: SendReport, changed: threading.Condition) -> None:
        self._engine = engine
        self._send = send
        self._changed = changed
        self._runs: dict[int, OpenRun] = {}

    @property
    def max_ahead(self) -> int:
        """The windows that the reader of one more run may keep, so that all together have bounded memory."""
        return max(2, self._engine.batch_windows // (len(self._runs) + 1))

    def open_run(self, order: messages.DecodeJob, reader: WindowReader, listener: JobListener) -> None:
        """Let the next batches have rows of this job."""
        can_draft = isinstance(self._engine, DraftingEngine)
        self._runs[order.run] = OpenRun(order, reader, listener, can_draft=can_draft)

    def stop_run(self, number: int) -> None:
        """Drop a run between two batches, and report it as stopped, unless it has ended already."""
        if (run := self._runs.get(number)) is not None:
            self._end(run, messages.JobStopped(number))

    def decode_batch(self, max_rows: int) -> messages.BatchDecoded:
        """Decode one batch, and report its windows and all runs that end. `max_rows` of 0 is no limit."""
        began_at = time.monotonic()
        limit = min(max_rows or self._engine.batch_windows, self._engine.batch_windows)
        self._wait_for_any()
        self._draft()
        self._wait_for_windows(limit)
        self._end_finished_runs()
        batch = self._take_rows(limit)
        rows = [row for rows in batch.values() for row in rows]
        if rows:
            with _log_jobs(batch):
                self._decode(rows, {id(run.listener): run for run in batch})
            self._wait_for_ends()
            self._end_finished_runs()
        return messages.BatchDecoded(
            rows=len(rows),
            jobs=len(batch),
            audio_s=round(sum(len(row.window.samples) for row in rows) / SAMPLE_RATE_HZ, 3),
            took_s=round(time.monotonic() - began_at, 3),
            max_rows=self._engine.batch_windows,
        )

    def _wait_for_any(self) -> None:
        """Wait until the batch has something to do."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._runs or any(run.is_answered for run in self._runs.values())
            )

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

    def _take_rows(self, limit: int) -> dict[OpenRun, list[Row]]:
        """Return the rows of the batch: one of each run in order of arrival, then more of each in turn."""
        with self._changed:
            runs = [run for run in self._runs.values() if run.ready][:limit]
            spare = limit - len(runs)
            batch = {}
            for run in runs:
                extra = min(spare, run.ready - 1)
                spare -= extra
                batch[run] = run.take_rows(1 + extra)
            return batch

    def _draft(self) -> None:
        """Publish drafts of first windows, before further ones are read."""
        if not isinstance(self._engine, DraftingEngine):
            return
        for run in self._runs.values():
            if run.is_draft_due and run.ready:
                run.is_draft_due = False
                with suppress(DecodingStopped):
                    self._engine.draft_row(run.peek_row())

    def _decode(self, rows: Sequence[Row], runs: dict[int, OpenRun]) -> None:
        try:
            for row, outcome in self._engine.decode_rows(rows):
                self._settle(runs[id(row.listener)], outcome)
        except Exception as error:  # border: an error of the engine fails its jobs, not the process
            _logger.exception("engine_failed")
            failure = RowFailure(FailureCode.ENGINE_ERROR, f"The engine failed: {error}")
            for run in runs.values():
                self._settle(run, failure)

    def _settle(self, run: OpenRun, outcome: RowOutcome) -> None:
        """Report the outcome of the next row of `run`, unless the run has ended with an earlier row."""
        number = run.order.run
        if number not in self._runs:
            return
        if not isinstance(outcome, WindowTranscript):
            self._end(run, describe_end(number, outcome))
            return
        run.listener.discard_partials()
        report = run.finish_window(outcome)
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
        for run in list(self._runs.values()):
            if (end := run.find_end()) is not None:
                self._end(run, end)

    def _end(self, run: OpenRun, report: messages.RunReport) -> None:
        del self._runs[run.order.run]
        with self._changed:
            run.close()
        self._send(report)


@contextmanager
def _log_jobs(runs: Iterable[OpenRun]) -> Iterator[None]:
    """Name the jobs of a batch in all lines that are logged within the block."""
    names = [run.order.job_id for run in runs]
    names_by_field = {"job_id": names[0]} if len(names) == 1 else {"job_ids": ",".join(names)}
    with structlog.contextvars.bound_contextvars(**names_by_field):
        yield
