"""The workers that are alive, and what each of them can do."""

import msgspec

from shared.capabilities import WorkerPresence
from shared.record.keys import Key
from shared.record.scripts import PlainCall, ScriptCall, to_json

_presence = msgspec.json.Decoder(WorkerPresence)


def announce_worker(presence: WorkerPresence) -> ScriptCall[bool]:
    """Record that a worker is alive; to be repeated well within the 15 s after which it counts as gone."""
    arguments = {
        "worker_id": presence.worker_id,
        "presence": to_json(presence),
        "takes_jobs": presence.takes_jobs,
        "model_state": presence.model_state,
        "max_rows": presence.max_rows,
    }
    return ScriptCall("announce_worker", arguments, bool)


def retire_worker(worker_id: str) -> PlainCall[bool]:
    """Forget a worker that is about to end."""
    commands = (
        ("ZREM", Key.WORKERS, worker_id),
        ("HDEL", Key.PRESENCE, worker_id),
        ("HDEL", Key.MODEL_STATES, worker_id),
    )
    return PlainCall(commands, any)


def read_workers() -> ScriptCall[tuple[WorkerPresence, ...]]:
    """Read the workers that are alive, and forget the others."""
    return ScriptCall("read_workers", {}, parse_workers)


def parse_workers(reply: list[bytes]) -> tuple[WorkerPresence, ...]:
    """Return the workers in a reply."""
    return tuple(map(_presence.decode, reply))
