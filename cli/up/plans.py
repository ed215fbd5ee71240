"""How each part is started and how long it may take to stop."""

import contextlib
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cli.up.parts import PartPlan
from cli.up.redis_choice import RedisChoice
from cli.up.settings import SECRETS, LocalServerSettings

# What the api and the worker need to end, after the time that requests and the running job are given.
API_ENDS_WITHIN_S = 3.0
WORKER_ENDS_WITHIN_S = 6.0
WEBHOOKS_END_WITHIN_S = 5.0
REDIS_ENDS_WITHIN_S = 10.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class PartCommands:
    """The commands of our own parts. -P keeps the working directory out of their import path."""

    worker: Sequence[str] = (sys.executable, "-P", "-m", "worker")
    webhooks: Sequence[str] = (sys.executable, "-P", "-m", "api.webhooks")
    api: Sequence[str] = (sys.executable, "-P", "-m", "api")


@dataclass(frozen=True)
class Foundation:
    """What is settled and held before anything starts: `lock` and `listener` are inherited by parts."""

    settings: LocalServerSettings
    redis: RedisChoice
    lock: int
    listener: socket.socket
    environment: Mapping[str, str]


def plan_redis(foundation: Foundation) -> PartPlan | None:
    """How Redis is started; None where one is used that runs already. Its lines go to a file."""
    if foundation.redis.command is None:
        return None
    return PartPlan(
        name="redis",
        command=foundation.redis.command,
        environment=_without_secrets(foundation.environment),
        stop_within_s=REDIS_ENDS_WITHIN_S,
        # Redis is what the lock protects: two servers on the same files would ruin them.
        inherited=(foundation.lock,),
        on_line=partial(_append_line, foundation.settings.data_folder / "logs" / "redis.log"),
    )


def plan_worker(foundation: Foundation, command: Sequence[str], say: Say) -> PartPlan:
    """How the worker is started; its lines go to `say`."""
    return PartPlan(
        name="worker",
        command=command,
        environment=_without_secrets(foundation.environment),
        stop_within_s=foundation.settings.stop_grace_s + WORKER_ENDS_WITHIN_S,
        on_line=lambda line: say(f"worker | {line}"),
    )


def plan_webhooks(foundation: Foundation, command: Sequence[str], say: Say) -> PartPlan:
    """How the process that delivers webhooks is started. It knows the secrets, since it signs with them."""
    return PartPlan(
        name="webhooks",
        command=command,
        environment=foundation.environment,
        stop_within_s=WEBHOOKS_END_WITHIN_S,
        on_line=lambda line: say(f"hooks  | {line}"),
    )


def plan_api(foundation: Foundation, command: Sequence[str], say: Say) -> PartPlan:
    """How the api is started; its lines go to `say`. It listens on the descriptor in LISTEN_FD."""
    descriptor = foundation.listener.fileno()
    return PartPlan(
        name="api",
        command=command,
        environment={**foundation.environment, "LISTEN_FD": str(descriptor)},
        stop_within_s=foundation.settings.drain_s + API_ENDS_WITHIN_S,
        inherited=(descriptor,),
        on_line=lambda line: say(f"api    | {line}"),
    )


def _without_secrets(environment: Mapping[str, str]) -> Mapping[str, str]:
    return {name: value for name, value in environment.items() if name not in SECRETS}


def _append_line(log: Path, line: str) -> None:
    # A full disk is no reason to stop; Redis itself says what it thinks of that.
    with contextlib.suppress(OSError), log.open("a") as opened:
        opened.write(f"{line}\n")
