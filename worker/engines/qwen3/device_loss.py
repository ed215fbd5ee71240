"""Ends the process to which its GPU is lost."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from worker.engines.qwen3.device import is_device_lost

_EXIT_CODE = 70

_logger = structlog.get_logger(__name__)


@contextmanager
def watch_device() -> Iterator[None]:
    """End this process where an error leaves its GPU context unusable; its job goes to a new one."""
    try:
        yield
    except RuntimeError as error:
        end_if_lost(error)
        raise


def end_if_lost(error: BaseException) -> None:
    """End this process if `error` leaves its GPU context unusable."""
    if is_device_lost(error):
        _logger.critical("device_lost", error=str(error))
        os._exit(_EXIT_CODE)
