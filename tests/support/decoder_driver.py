"""A batch decoder with its readers, driven without a process."""

import threading
from collections.abc import Callable, Iterable

import msgspec

from worker.engines.protocol import Engine, Samples
from worker.model import messages
from worker.model.decoding import BatchDecoder, PendingOrders
from worker.model.open_run import JobListener
from worker.model.window_reader import WindowCutter, WindowReader

_ENDS = (messages.JobDecoded, messages.JobFailed, messages.JobStopped)


class DecoderDriver:
    """A batch decoder of an engine, and the reports that it sent since the last batch began.

    Windows are found by speech detection if the engine needs that. Runs in `stopped` are stopped. `pending`
    are orders that arrive during a batch.
    """

    def __init__(self, engine: Engine, *, window_s: float = 1) -> None:
        self.sent: list[messages.Report] = []
        self.stopped: set[int] = set()
        self.pending: list[Callable[[], None]] = []
        self._changed = threading.Condition()
        self._cutter = WindowCutter(window_s=window_s)
        if engine.needs_speech:
            self._cutter.load_vad()
        self._decoder = BatchDecoder(engine, self.sent.append, self._changed)

    def open(self, order: messages.DecodeJob, sound: Iterable[Samples]) -> None:
        """Open a run with this sound."""
        is_over = threading.Event()

        def is_stopped() -> bool:
            return order.run in self.stopped or is_over.is_set()

        windows = self._cutter.cut(order, sound)
        reader = WindowReader(windows, self._changed, is_over, ahead=self._decoder.max_ahead)
        self._decoder.open_run(order, reader, JobListener(order.run, self.sent.append, is_stopped))

    def wait_for_readers(self) -> None:
        """Wait until each run has read as far ahead as it may."""
        readers = [run._reader for run in self._decoder._runs.values()]
        with self._changed:
            read = self._changed.wait_for(
                lambda: all(reader.is_ended or reader.ready >= reader._ahead for reader in readers), 30
            )
        assert read

    def stop_after_windows(self, run: int) -> None:
        """Stop a run when its windows in decoding are done."""
        self._decoder.stop_run(run)

    def decode(self, max_rows: int = 0) -> list[messages.Report]:
        """Decode a batch, and return the reports on runs, as they arrive at the host."""
        self.sent.clear()
        orders = PendingOrders(lambda: bool(self.pending), self._follow_next)
        self.last = self._decoder.decode_batch(max_rows, orders)
        on_runs = [report for report in self.sent if isinstance(report, messages.RunMessage)]
        return [messages.report_decoder.decode(msgspec.json.encode(report)) for report in on_runs]

    def _follow_next(self) -> None:
        self.pending.pop(0)()

    def decode_all(self) -> list[messages.Report]:
        """Decode batches until a run ends, and return all reports on runs."""
        reports: list[messages.Report] = []
        while not any(isinstance(report, _ENDS) for report in reports):
            reports += self.decode()
        return reports
