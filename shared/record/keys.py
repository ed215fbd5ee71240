"""Names of the keys and channels of the job record; schema.md describes their contents.

Plain commands and the Lua script take them from here.
"""

from enum import Enum

RECORD_VERSION = 2
"""The version of the record; see `shared.record.version`. The release before it wrote no version."""

KEY_ROOT = "qwen3-asr:"
"""The beginning of all keys and channels, of any version."""

KEY_PREFIX = f"{KEY_ROOT}{RECORD_VERSION}:"
"""The prefix of the keys and channels of this version. Other versions never touch them."""

END_MESSAGE = b"end"
"""The wake-up message after the last event of a job; other messages are empty."""


class RecordKey(str):
    """A key without the prefix. A runner of calls adds the prefix."""

    __slots__ = ()


class Key(RecordKey, Enum):
    """All keys. A name that ends in a colon is completed by `of`."""

    JOB = "job:"
    LOG = "log:"
    PARTIALS = "partials:"
    SEGMENTS = "segments:"
    WARNINGS = "warnings:"
    GONE = "gone:"
    WAKE_UPS = "ev:"
    QUEUED = "queued"
    QUEUED_MS = "queued_ms"
    ALONE = "alone"
    UNCLAIMED = "unclaimed"
    UNFINISHED = "unfinished:"
    RUNNING = "running"
    HELD = "held:"
    TAGS = "tags:"
    VIRTUAL_TIME = "virtual_time"
    SEQUENCE = "sequence"
    WINDOWS_SINCE_BATCH = "windows_since_batch"
    SPEED = "speed"
    WORKERS = "workers"
    PRESENCE = "presence"
    MODEL_STATES = "model_states"
    LISTS = "listed:"
    LIST_COUNTER = "listed"
    KEPT_UNTIL = "kept_until"
    DISCARDED = "discarded"
    LEASE_CLOCK = "lease_clock"
    LISTENER_LEASES = "listener_leases"
    IDEMPOTENCY = "idem:"
    STREAM_TOKEN = "stream_token:"  # noqa: S105 - a name
    DELIVERY = "delivery:"
    DELIVERIES = "deliveries:"
    DELIVERIES_DUE = "deliveries_due:"
    DELIVERY_HOSTS = "delivery_hosts"
    DELIVERY_CLAIM = "delivery_claim:"
    DELIVERY_OPENED = "delivery_opened"
    JOB_QUEUED = "job_queued"

    def of(self, part: str) -> RecordKey:
        """Return the key of one job, API key or other part."""
        return RecordKey(self.value + part)


def wake_up_channel(job_id: str) -> str:
    """Return the channel that wakes the listeners of a job; `*` stands for all jobs."""
    return KEY_PREFIX + Key.WAKE_UPS.of(job_id)


DELIVERIES_CHANNEL = KEY_PREFIX + Key.DELIVERY_OPENED
"""The channel of a message for each webhook delivery that is opened."""

QUEUE_CHANNEL = KEY_PREFIX + Key.JOB_QUEUED
"""The channel of a message for each job that enters the queue."""


def job_of_channel(channel: str) -> str:
    """Return the job whose listeners a message on `channel` wakes."""
    return channel.removeprefix(wake_up_channel(""))
