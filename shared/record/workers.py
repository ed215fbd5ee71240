"""The workers that are alive, and what each can do."""

import msgspec

from shared.capabilities import WorkerPresence
from shared.record.scripts import ScriptCall

PRESENCE_TTL_S = 15.0
"""Seconds after which a worker that said nothing counts as gone."""

_presence = msgspec.json.Decoder(WorkerPresence)


def announce_worker(presence: WorkerPresence) -> ScriptCall[bool]:
    """Say that a worker is alive; to be repeated well within PRESENCE_TTL_S."""
    encoded = msgspec.json.encode(presence)
    args = (presence.worker_id, encoded, int(presence.takes_jobs), presence.model_state)
    return ScriptCall("announce_worker", args, bool)


def retire_worker(worker_id: str) -> ScriptCall[bool]:
    """Forget a worker that is about to end."""
    return ScriptCall("retire_worker", (worker_id,), bool)


def read_workers() -> ScriptCall[tuple[WorkerPresence, ...]]:
    """The workers that are alive."""
    ttl_ms = round(PRESENCE_TTL_S * 1000)
    return ScriptCall("read_workers", (ttl_ms,), lambda reply: tuple(map(_presence.decode, reply)))
