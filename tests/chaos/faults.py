"""The kinds of faults, and the series of faults that a seed draws."""

import random
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

WORKERS = ("worker-1", "worker-2")


class FaultKind(StrEnum):
    """A kind of fault."""

    KILL_WORKER = "kill -9 worker"
    KILL_MODEL = "kill -9 model process"
    KILL_API = "kill -9 api"
    KILL_REDIS = "kill -9 Redis"
    STOP_WORKER = "SIGSTOP worker"  # for longer than the lease
    STOP_REDIS = "SIGSTOP Redis"
    HALF_OPEN = "half-open connection"
    CLIENT_KILL = "CLIENT KILL"  # cuts all connections to Redis
    TERM_WORKER = "SIGTERM worker"
    REDIS_DOWN = "Redis down"
    DISK_FULL = "disk full"

    @property
    def is_kill(self) -> bool:
        """Return whether the fault kills a process that holds a job."""
        return self in (FaultKind.KILL_WORKER, FaultKind.KILL_MODEL)

    @property
    def hits_front(self) -> bool:
        """Return whether the fault is over when a job is accepted again, not when a job continues."""
        return self in (FaultKind.KILL_API, FaultKind.DISK_FULL)


@dataclass(frozen=True)
class Fault:
    """One fault that hits the part `target` for `hold_s`, after a pause of `pause_s`."""

    kind: FaultKind
    target: str
    hold_s: float
    pause_s: float

    @property
    def is_at_worker(self) -> bool:
        """Return whether the fault hits one worker, its connections or its model process."""
        return self.target in WORKERS


def draw_faults(
    seed: int, count: int, *, lease_s: float, kinds: Collection[FaultKind] = tuple(FaultKind)
) -> list[Fault]:
    """Return `count` faults: every kind comes once before any comes twice, and so on.

    After the kill of a worker comes a pause of a lease, to measure when the server notices it.
    """
    draw = random.Random(seed)  # noqa: S311 - nothing secret is drawn
    drawn: list[FaultKind] = []
    while len(drawn) < count:
        drawn += draw.sample(sorted(kinds), len(kinds))
    return [
        Fault(
            kind,
            target=_draw_target(kind, draw),
            hold_s=_draw_hold_s(kind, draw, lease_s),
            pause_s=draw.uniform(0.5, 3.0) + (lease_s + 2 if before is FaultKind.KILL_WORKER else 0),
        )
        for before, kind in zip([None, *drawn], drawn[:count], strict=False)
    ]


def _draw_target(kind: FaultKind, draw: random.Random) -> str:
    match kind:
        case FaultKind.KILL_WORKER | FaultKind.KILL_MODEL | FaultKind.STOP_WORKER | FaultKind.TERM_WORKER:
            return draw.choice(WORKERS)
        case FaultKind.HALF_OPEN:
            return draw.choice((*WORKERS, "api"))
        case FaultKind.KILL_API:
            return "api"
        case FaultKind.DISK_FULL:
            return "disk"
        case _:
            return "redis"


def _draw_hold_s(kind: FaultKind, draw: random.Random, lease_s: float) -> float:
    match kind:
        case FaultKind.STOP_WORKER:
            return lease_s * draw.uniform(1.3, 2.0) + 1
        case FaultKind.STOP_REDIS:
            return draw.uniform(1.0, 8.0)
        case FaultKind.REDIS_DOWN:
            return draw.uniform(8.0, 20.0)
        case FaultKind.DISK_FULL:
            return draw.uniform(3.0, 6.0)
        case _:
            return 0.0
