"""A process driven by Celery, whose signals start and stop the runtime that does the work."""

import warnings
from typing import Any, Protocol

from celery import Celery, signals

from shared.logs import configure_logging

# Nothing here uses the messages that Celery workers exchange.
_SILENCE = ("--without-mingle", "--without-gossip", "--without-heartbeat")


class Runtime(Protocol):
    """The parts of a process. Each method is called once, in this order."""

    def start(self) -> None:
        """Start to serve, before there is a connection to the broker."""

    def begin_stop(self) -> None:
        """Start no new work, and end the current work early. The solo pool alone would wait for all of it."""

    def stop(self) -> None:
        """End the parts."""


def connect_runtime(runtime: Runtime, *, log_level: str) -> None:
    """Connect the Celery signals of this process to `runtime`."""

    def leave_logging_alone(**_: Any) -> None:
        # If this signal has a listener, Celery sets up no logging.
        pass

    def start(**_: Any) -> None:
        configure_logging(log_level)
        runtime.start()

    def begin_stop(**_: Any) -> None:
        runtime.begin_stop()

    def stop(**_: Any) -> None:
        runtime.stop()

    # By default Celery holds listeners weakly, and these functions would be gone at once.
    signals.setup_logging.connect(leave_logging_alone, weak=False)
    signals.worker_init.connect(start, weak=False)
    signals.worker_shutting_down.connect(begin_stop, weak=False)
    signals.worker_shutdown.connect(stop, weak=False)


def run_in_foreground(app: Celery, queue: str) -> None:
    """Receive the tickets of `queue` until SIGTERM or SIGINT."""
    # Celery warns root about pickled messages, but a ticket is JSON without content.
    warnings.filterwarnings("ignore", message=r"\s*You're running the worker with superuser privileges")
    app.worker_main(["--quiet", "worker", "--pool=solo", f"--queues={queue}", *_SILENCE])
