"""The version of the record. A process of another version is refused at its start.

If Redis does not answer then, the sweeper repeats the check. Until it succeeds, a record of another version
takes no jobs and gives none out (`is_record_open` in lua/queue.lua).

Each version has a key prefix of its own, so processes of two versions on one Redis never touch the same keys.
"""

import sys
import time

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.errors import QueueUnavailable
from shared.record.keys import KEY_ROOT, RECORD_VERSION
from shared.record.scripts import ScriptCall, ScriptRunner

STOPPING_S = 6.0
"""Seconds to wait for processes of the unnumbered release, which may be about to stop."""

_UNNUMBERED = 1

_logger = structlog.get_logger(__name__)


class RecordVersionMismatch(Exception):
    """Redis holds a record of another version than that of this process."""

    def __init__(self, found: int | str) -> None:
        self.found = found
        super().__init__(
            f"The job record in Redis has version {found}, and this release needs version {RECORD_VERSION}. "
            "Stop all processes of the other release, or set REDIS_URL to another Redis database."
        )


def open_record() -> ScriptCall[int | str]:
    """Give an empty Redis this version, or take over the record of the unnumbered release.

    Returns the version of the record: another one if it is newer, or if old processes still use it. A version
    that is not a number is returned as text.
    """

    def parse(reply: bytes) -> int | str:
        found = reply.decode(errors="replace")
        return int(found) if found.isdecimal() else repr(found)

    return ScriptCall("open_record", {"root": KEY_ROOT, "version": RECORD_VERSION}, parse)


def check_version(runner: ScriptRunner) -> None:
    """Open the record.

    Raises:
        RecordVersionMismatch: the record has another version.
        QueueUnavailable: Redis does not answer.
    """
    found = runner.run(open_record())
    if found != RECORD_VERSION:
        raise RecordVersionMismatch(found)


def require_version(runner: ScriptRunner) -> None:
    """Open the record as `check_version` does, but give old processes STOPPING_S to end."""
    deadline_s = time.monotonic() + STOPPING_S
    while True:
        try:
            return check_version(runner)
        except RecordVersionMismatch as error:
            if error.found != _UNNUMBERED or time.monotonic() > deadline_s:
                raise
        time.sleep(0.2)


def exit_on_other_version(redis_url: str) -> None:
    """End this process if Redis holds a record of another version. It may start while Redis is down."""
    connection = redis.Redis.from_url(
        redis_url, retry=Retry(NoBackoff(), 0), socket_timeout=5, socket_connect_timeout=3
    )
    with connection:
        try:
            require_version(ScriptRunner(connection))
        except RecordVersionMismatch as error:
            _logger.critical("record_version_mismatch", reason=str(error))
            sys.exit(1)
        except QueueUnavailable:
            _logger.warning("record_version_unknown", reason="Redis does not answer")
