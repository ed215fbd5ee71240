"""The model process: loads the engine and decodes batches of the host's jobs, until the host is gone.

Standard input is the channel to the host. When it closes, this process ends, whatever it is doing.
"""

import os
import queue
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import msgspec
import structlog

from shared.audio_format import SeekPoint
from shared.fd_channel import FdChannel
from shared.logs import configure_logging
from shared.media.samples import read_pcm, read_stored_pcm
from shared.parent_death import outlive_parent
from worker.engines.protocol import LOADED, DecodingStopped, Engine, ModelUnavailable, Samples
from worker.engines.registry import create_engine
from worker.model import messages
from worker.model.decoding import BatchDecoder, PendingOrders
from worker.model.open_run import JobListener, SendReport
from worker.model.window_reader import WindowCutter, WindowReader, watch_stops
from worker.settings import WorkerSettings

AUDIO_POLL_S = 0.05
"""Seconds that a stop may go unnoticed while a decoder writes nothing."""

_logger = structlog.get_logger(__name__)


class OrderInbox:
    """A thread that receives orders, so that a stop is known while the engine is at work."""

    def __init__(self, channel: FdChannel, changed: threading.Condition) -> None:
        """Notify `changed` of each order."""
        self._channel = channel
        self._changed = changed
        self._orders: queue.SimpleQueue[tuple[messages.Order, Sequence[int]]] = queue.SimpleQueue()
        self._stopped_runs: set[int] = set()
        threading.Thread(target=self._receive_orders, name="orders", daemon=True).start()

    @property
    def has_orders(self) -> bool:
        """Whether the next order is here."""
        return not self._orders.empty()

    def wait_for_order(self) -> tuple[messages.Order, Sequence[int]]:
        """Return the next order and the descriptors that came with it."""
        return self._orders.get()

    def is_stopped(self, run: int) -> bool:
        """Return whether this run was stopped."""
        return run in self._stopped_runs

    def _receive_orders(self) -> None:
        try:
            self._follow_orders()
        except Exception:  # border of the thread: a process that receives no stop is useless
            _logger.exception("orders_broken")
        # The host is gone or wants no more. End now, with all children of the engine.
        os.killpg(os.getpgrp(), signal.SIGKILL)

    def _follow_orders(self) -> None:
        while (message := self._channel.receive()) is not None:
            payload, descriptors = message
            order = messages.order_decoder.decode(payload)
            with self._changed:
                if isinstance(order, messages.StopJob) and not order.finishes_windows:
                    self._stopped_runs.add(order.run)
                self._orders.put((order, descriptors))
                self._changed.notify_all()


class AudioPipe:
    """The reading end of a job's audio: a decoder's pipe or a file. Closing it ends the decoder.

    Reading notices a stop although a decoder may take long for its next sample. Where it finds no seek point,
    it decodes all of the upload before a checkpoint.
    """

    def __init__(self, descriptor: int, is_stopped: Callable[[], bool]) -> None:
        self._descriptor = descriptor
        self._is_stopped = is_stopped
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes, as soon as there are any; none at the end.

        Raises:
            DecodingStopped: `is_stopped` returned true while there was nothing to read.
        """
        while not self._poll.poll(AUDIO_POLL_S * 1000):
            if self._is_stopped():
                raise DecodingStopped
        return os.read(self._descriptor, size)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)


class LoadReporter:
    """A `PhaseReporter` that sends the host each phase of loading, with the time since loading began.

    The first load begins with the reporter. A second model's load begins with its first phase.
    """

    def __init__(self, send: SendReport, clock: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._clock = clock
        self._began_at: float | None = clock()
        self._device, self._rows, self._joins_rows = "", 1, False

    def __call__(self, phase: str, /) -> None:
        """Report that a phase begins, or that a second model is loaded."""
        if phase == LOADED:
            self.end(self._device, rows=self._rows, joins_rows=self._joins_rows)
        else:
            self._send(messages.LoadPhaseBegun(phase, self._elapsed_s()))

    def end(self, device: str, *, rows: int, joins_rows: bool = False) -> None:
        """Report that the model is in memory on `device`, and takes `rows` windows at once."""
        self._device, self._rows, self._joins_rows = device, rows, joins_rows
        self._send(messages.Loaded(device, self._elapsed_s(), rows, joins_rows))
        self._began_at = None

    def reset(self) -> None:
        """Forget a load that failed, so that the next one is timed from its own start."""
        self._began_at = None

    def _elapsed_s(self) -> float:
        now = self._clock()
        if self._began_at is None:
            self._began_at = now
        return round(now - self._began_at, 3)


class ModelProcess:
    """The server of one host: loads the engine, then decodes batches of the host's jobs."""

    def __init__(self, channel: FdChannel, engine: Engine, cutter: WindowCutter) -> None:
        self._channel = channel
        self._engine = engine
        self._cutter = cutter
        self._changed = threading.Condition()
        self._decoder = BatchDecoder(engine, self._send, self._changed)
        self._report_phase = LoadReporter(self._send)

    def serve(self) -> None:
        """Load, then follow the orders until the host closes the channel, which ends the process."""
        inbox = OrderInbox(self._channel, self._changed)
        outlive_parent()  # the inbox detects the parent's death, and ends the engine's children too
        if not self._load():
            return
        while True:
            self._follow_order(inbox)

    def _follow_order(self, inbox: OrderInbox) -> None:
        """Wait for the next order, and follow it. Jobs that join a batch are ordered while it is decoded."""
        match inbox.wait_for_order():
            case messages.DecodeJob() as order, (audio_fd,):
                self._open_run(order, audio_fd, inbox)
            case messages.StopJob(run=run), _:
                self._decoder.stop_run(run)
            case messages.DecodeBatch(max_rows=max_rows), _:
                orders = PendingOrders(
                    is_waiting=lambda: inbox.has_orders, follow_next=lambda: self._follow_order(inbox)
                )
                self._send(self._decoder.decode_batch(max_rows, orders))
                self._report_phase.reset()  # in case a second model could not be loaded

    def _load(self) -> bool:
        try:
            device = self._engine.load(self._report_phase)
            if self._engine.needs_speech:
                self._cutter.load_vad()
        except ModelUnavailable as error:
            self._send(messages.LoadFailed(error.describe_to_clients()))
            return False
        self._report_phase.end(device, rows=self._engine.batch_windows, joins_rows=self._engine.joins_rows)
        return True

    def _open_run(self, order: messages.DecodeJob, audio_fd: int, inbox: OrderInbox) -> None:
        is_over = threading.Event()

        def is_stopped() -> bool:
            return is_over.is_set() or inbox.is_stopped(order.run)

        listener = JobListener(order.run, self._send, is_stopped)
        sound = watch_stops(read_audio(order, audio_fd, is_stopped), listener.is_stopped)
        windows = self._cutter.cut(order, sound)
        reader = WindowReader(windows, self._changed, is_over, ahead=self._decoder.max_ahead)
        self._decoder.open_run(order, reader, listener)

    def _send(self, report: messages.Report) -> None:
        self._channel.send(msgspec.json.encode(report))


def read_audio(
    order: messages.DecodeJob, audio_fd: int, is_stopped: Callable[[], bool]
) -> Iterator[Samples | SeekPoint]:
    """Yield the sound that came with `order`, and close its descriptor."""
    with closing(AudioPipe(audio_fd, is_stopped)) as audio:
        yield from read_stored_pcm(audio) if order.has_stored_samples else read_pcm(audio)


def take_over_stdin() -> FdChannel:
    """Return the channel of descriptor 0, moved away from libraries. Prints go to standard error."""
    channel = FdChannel(socket.socket(fileno=os.dup(0)))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return channel


def main() -> None:
    """Run the model process of the engine that the settings name."""
    channel = take_over_stdin()
    settings = WorkerSettings()
    configure_logging(settings.log_level)
    # The hub's client reads it once, at its import. Child processes of an engine read it too.
    os.environ["HF_HUB_CACHE"] = str(settings.hub_cache_dir)
    engine = create_engine(settings)
    ModelProcess(channel, engine, WindowCutter(window_s=settings.window_s)).serve()
