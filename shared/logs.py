"""Logs as structured events on standard error, in the same format for every process."""

import logging
import sys

import structlog

# They log URLs in full, and the query may hold a secret.
_VERBOSE = ("httpcore", "httpx")


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
