"""The check of the model's name at the start of a worker, in a process of its own that then ends.

It imports the client of the model hub, which would stay in the memory of the worker.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

import structlog

from shared.logs import configure_logging
from shared.parent_death import die_with_parent

_MISSING = 3
"""The exit code if the model does not exist. Its reason is on standard output."""

_logger = structlog.get_logger(__name__)


class ModelCheck:
    """A thread that waits for the check, and calls `on_missing` with the reason if the model is missing."""

    def __init__(self, environment: Mapping[str, str], on_missing: Callable[[str], None]) -> None:
        self._environment = environment
        self._on_missing = on_missing

    def start(self) -> None:
        """Start the check. A worker that stops does not wait for it."""
        threading.Thread(target=self._run, name="model-check", daemon=True).start()

    def _run(self) -> None:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "worker.model.model_check"],
            env=os.environ | self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if ended.returncode == _MISSING:
            self._on_missing(ended.stdout)


def main() -> int:
    """Check the model that the settings name on the hub, and return the exit code."""
    die_with_parent()
    from worker.engines.model_hub import HubSilent  # noqa: PLC0415 - the worker needs none of these
    from worker.engines.protocol import ModelUnavailable  # noqa: PLC0415
    from worker.engines.registry import check_hub_model  # noqa: PLC0415
    from worker.settings import WorkerSettings  # noqa: PLC0415

    settings = WorkerSettings()
    configure_logging(settings.log_level)
    os.environ["HF_HUB_CACHE"] = str(settings.hub_cache_dir)  # read once, at the import of the hub's client
    try:
        if settings.hub_model:
            check_hub_model(settings, settings.hub_model)
    except HubSilent as error:
        _logger.warning("model_unchecked", model=settings.hub_model, reason=str(error))
    except ModelUnavailable as error:
        _logger.error("model_missing", reason=str(error))  # noqa: TRY400 - no fault of the code
        sys.stdout.write(error.describe_to_clients())
        return _MISSING
    return 0


if __name__ == "__main__":
    sys.exit(main())
