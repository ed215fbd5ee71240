"""Logs as structured events on standard error, in the same format for every process."""

import logging
import sys

import structlog

# The first two log URLs in full, and the query may hold a secret. The others repeat our events without a job
# id, and Celery calls each ticket a task that succeeded, also if its job failed.
_VERBOSE = ("httpcore", "httpx", "celery", "faster_whisper")

_logger = structlog.get_logger(__name__)


def configure_logging(level: str) -> None:
    """Write events of at least `level` (DEBUG, INFO, WARNING, ERROR), one line each, to standard error.

    Lines of libraries that use `logging` get the same format.
    """
    shared_steps: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared_steps, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    writer = logging.StreamHandler(sys.stderr)
    writer.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared_steps,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[writer], force=True)
    for name in _VERBOSE:
        logging.getLogger(name).setLevel(logging.WARNING)


def log_job_end(state: str, **fields: object) -> None:
    """Log the end of a job. Its id is in `fields`, or bound to the context of the caller."""
    write = _logger.warning if state == "failed" else _logger.info
    write("job_ended", state=state, **fields)
