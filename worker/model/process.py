"""The model process: loads the engine and transcribes what the model host sends, until the host is gone.

Standard input is the channel to the host; its end is the end of this process, whatever it does at the time.
"""

import os
import queue
import signal
import socket
import threading
from functools import partial

import structlog

from shared.fd_channel import FdChannel
from shared.logs import configure_logging
from shared.media.pcm_frames import read_pcm
from shared.parent_death import outlive_parent
from worker.audio.pipe import AudioPipe
from worker.engines.protocol import Engine, ModelUnavailable
from worker.engines.registry import create_engine
from worker.model import messages
from worker.model.decoding import JobDecoder, JobListener
from worker.model.load_reports import LoadReporter
from worker.settings import WorkerSettings

_logger = structlog.get_logger(__name__)


class OrderInbox:
    """Receives orders on a thread of its own, so that a stop is known while the engine is at work."""

    def __init__(self, channel: FdChannel) -> None:
        self._channel = channel
        self._jobs: queue.SimpleQueue[tuple[messages.DecodeJob, int]] = queue.SimpleQueue()
        self._stopped_run = 0
        self._leave_for_run = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._receive_orders, name="orders", daemon=True).start()

    def wait_for_job(self) -> tuple[messages.DecodeJob, int]:
        """The next job and the descriptor its audio comes out of."""
        return self._jobs.get()

    def is_stopped(self, run: int) -> bool:
        """Whether this run was told to stop. Runs only grow, so an old order cannot hit a new run."""
        return self._stopped_run >= run

    def wait_for_leave(self, run: int) -> None:
        """Return when this run was told to go on, which counts once, or to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._leave_for_run == run or self.is_stopped(run))
            self._leave_for_run = 0

    def _receive_orders(self) -> None:
        try:
            self._follow_orders()
        except Exception:  # border of the thread: a process that hears no stop any more is of no use
            _logger.exception("orders_broken")
        # The host is gone or wants no more: end now, with all that an engine may have started.
        os.killpg(os.getpgrp(), signal.SIGKILL)

    def _follow_orders(self) -> None:
        while (message := self._channel.receive()) is not None:
            payload, descriptors = message
            match messages.decode_order(payload):
                case messages.DecodeJob() as order:
                    self._jobs.put((order, descriptors[0]))
                case messages.StopJob(run=run):
                    with self._changed:
                        self._stopped_run = run
                        self._changed.notify_all()
                case messages.GoOn(run=run):
                    with self._changed:
                        self._leave_for_run = run
                        self._changed.notify_all()


class ModelProcess:
    """Serves one host: loads the engine, then does its jobs one after the other."""

    def __init__(self, channel: FdChannel, engine: Engine, decoder: JobDecoder) -> None:
        self._channel = channel
        self._engine = engine
        self._decoder = decoder
        self._report_phase = LoadReporter(self._send)

    def serve(self) -> None:
        """Load, then transcribe until the host closes the channel, which ends the process."""
        inbox = OrderInbox(self._channel)
        outlive_parent()  # the inbox hears it, and ends all that the engine may have started
        if not self._load():
            return
        while True:
            order, audio_fd = inbox.wait_for_job()
            self._transcribe(order, audio_fd, inbox)

    def _load(self) -> bool:
        try:
            device = self._engine.load(self._report_phase)
            self._decoder.prepare()
        except ModelUnavailable as error:
            self._send(messages.LoadFailed(str(error)))
            return False
        self._report_phase.end(device)
        return True

    def _transcribe(self, order: messages.DecodeJob, audio_fd: int, inbox: OrderInbox) -> None:
        run = order.run
        is_stopped = partial(inbox.is_stopped, run)
        listener = JobListener(run, self._send, is_stopped, partial(self._ask_leave, run, inbox))
        with AudioPipe(audio_fd, is_stopped) as audio:
            for report in self._decoder.decode(order, read_pcm(audio), listener):
                self._send(report)
        self._report_phase.forget()  # where a second model could not be loaded

    def _ask_leave(self, run: int, inbox: OrderInbox) -> None:
        self._send(messages.BatchDecoded(run))
        inbox.wait_for_leave(run)

    def _send(self, report: messages.Report) -> None:
        self._channel.send(messages.encode_message(report))


def take_over_stdin() -> FdChannel:
    """The channel on descriptor 0, moved to where no library can touch it; prints go to standard error."""
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
    # Before anything imports the hub's client, which reads it once, and for what an engine may start.
    os.environ["HF_HUB_CACHE"] = str(settings.hub_cache_dir)
    engine = create_engine(settings)
    decoder = JobDecoder(engine, window_s=settings.window_s, first_window_s=settings.first_window_s)
    ModelProcess(channel, engine, decoder).serve()
