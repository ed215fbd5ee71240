"""`python -m worker`: run one worker in the foreground until SIGTERM or SIGINT."""

import warnings
from functools import partial

from celery import signals
from celery.exceptions import CPendingDeprecationWarning

from shared.broker import QUEUE_NAME, TASK_NAME, create_celery
from shared.logs import configure_logging
from shared.record.version import exit_on_other_version
from shared.start_settings import load_settings, warn_of_misspelt_settings
from worker.runtime import WorkerRuntime
from worker.settings import WorkerSettings, WorkerStartSettings

# The worker does not use the messages that Celery workers exchange.
_QUIET = ("--quiet", "worker", "--pool=solo", "--without-mingle", "--without-gossip", "--without-heartbeat")


def main() -> None:
    """Run the worker. Celery's signals start and stop its runtime, which does the work."""
    settings = load_settings(WorkerStartSettings)
    configure_logging(settings.log_level)
    warn_of_misspelt_settings(WorkerSettings)
    exit_on_other_version(settings.redis_url)
    app = create_celery(settings.redis_url)
    runtime = WorkerRuntime(settings, app)

    @app.task(name=TASK_NAME)
    def transcribe() -> None:
        """Run the queued jobs. A ticket names no job: the job record decides which comes next."""
        runtime.runner.serve_ticket()

    _connect_signals(runtime)
    # Celery warns root about pickled messages, but a ticket is JSON without content.
    warnings.filterwarnings("ignore", message=r"\s*You're running the worker with superuser privileges")
    app.worker_main([*_QUIET, f"--queues={QUEUE_NAME}"])


def _connect_signals(runtime: WorkerRuntime) -> None:
    # By default Celery holds listeners weakly, and these functions would be gone at once.
    signals.setup_logging.connect(lambda **_: None, weak=False)  # with a listener, Celery sets up no logging
    signals.worker_init.connect(lambda **_: runtime.start(), weak=False)  # before it connects to the broker
    # Celery shows this kind from its set-up on, such as an untrue one about tasks at each loss of Redis.
    ignore = partial(warnings.filterwarnings, "ignore", category=CPendingDeprecationWarning)
    signals.worker_ready.connect(lambda **_: ignore(), weak=False)
    # Without this stop, the solo pool waits for all jobs.
    signals.worker_shutting_down.connect(lambda **_: runtime.runner.begin_stop(), weak=False)
    signals.worker_shutdown.connect(lambda **_: runtime.stop(), weak=False)


if __name__ == "__main__":
    main()
