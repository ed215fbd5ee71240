"""A process that Celery drives: its signals start and stop a runtime, which does the work."""

import warnings
from typing import Any, Protocol

from celery import Celery, signals

from shared.logs import configure_logging

# Nothing here needs Celery's talk among workers.
_SILENCE = ("--without-mingle", "--without-gossip", "--without-heartbeat")


class Runtime(Protocol):
    """What a process consists of. Each of the three is called once, in this order."""

    def start(self) -> None:
        """Serve from the start, before there is a connection to the broker."""

    def begin_stop(self) -> None:
        """Begin nothing more, and let go of what runs: the solo pool alone would wait for all of it."""

    def stop(self) -> None:
        """End what the process consists of."""


def connect_runtime(runtime: Runtime, *, log_level: str) -> None:
    """Let the signals of Celery in this process start and stop `runtime`."""

    def leave_logging_alone(**_: Any) -> None:
        # Where this signal has a listener, Celery sets up no logging of its own.
        pass

    def start(**_: Any) -> None:
        configure_logging(log_level)
        runtime.start()

    def begin_stop(**_: Any) -> None:
        runtime.begin_stop()

    def stop(**_: Any) -> None:
        runtime.stop()

    # Celery would hold functions like these weakly, and they would be gone at once.
    signals.setup_logging.connect(leave_logging_alone, weak=False)
    signals.worker_init.connect(start, weak=False)
    signals.worker_shutting_down.connect(begin_stop, weak=False)
    signals.worker_shutdown.connect(stop, weak=False)


def run_in_foreground(app: Celery, queue: str) -> None:
    """Take the tickets of `queue`; SIGTERM and SIGINT stop it."""
    # It warns root of pickled messages; a ticket is JSON without any content.
    warnings.filterwarnings("ignore", message=r"\s*You're running the worker with superuser privileges")
    app.worker_main(["--quiet", "worker", "--pool=solo", f"--queues={queue}", *_SILENCE])
