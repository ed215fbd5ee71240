"""The plan of each part: its command, its environment and its time to stop."""

import contextlib
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cli.up.output import Show
from cli.up.parts import PartPlan
from cli.up.redis_server import RedisChoice
from cli.up.settings import SECRETS, LocalServerSettings

# The time to end after the grace time for requests and the running job.
API_ENDS_WITHIN_S = 3.0
WORKER_ENDS_WITHIN_S = 6.0
REDIS_ENDS_WITHIN_S = 10.0


@dataclass(frozen=True)
class PartCommands:
    """The commands of our own parts. -P keeps the working directory out of their import path."""

    worker: Sequence[str] = (sys.executable, "-P", "-m", "worker")
    api: Sequence[str] = (sys.executable, "-P", "-m", "api")


@dataclass(frozen=True)
class StartContext:
    """The decisions and resources of a start. Parts inherit `lock` and `listener`."""

    settings: LocalServerSettings
    redis: RedisChoice
    lock: int
    listener: socket.socket
    environment: Mapping[str, str]


def plan_redis(context: StartContext) -> PartPlan | None:
    """Return the plan of Redis, whose lines go to a file, or None if a running one is used."""
    if context.redis.command is None:
        return None
    return PartPlan(
        name="redis",
        command=context.redis.command,
        environment=_without_secrets(context.environment),
        stop_within_s=REDIS_ENDS_WITHIN_S,
        # The lock protects the files of Redis: two servers on the same files would corrupt them.
        inherited=(context.lock,),
        on_line=partial(_append_line, context.settings.data_folder / "logs" / "redis.log"),
    )


def plan_worker(context: StartContext, command: Sequence[str], show: Show) -> PartPlan:
    """Return the plan of the worker, whose lines are shown."""
    return PartPlan(
        name="worker",
        command=command,
        environment=_without_secrets(context.environment),
        stop_within_s=context.settings.stop_grace_s + WORKER_ENDS_WITHIN_S,
        on_line=lambda line: show(f"worker | {line}"),
    )


def plan_api(context: StartContext, command: Sequence[str], show: Show) -> PartPlan:
    """Return the plan of the api, whose lines are shown. It listens on the descriptor in LISTEN_FD."""
    descriptor = context.listener.fileno()
    return PartPlan(
        name="api",
        command=command,
        environment={**context.environment, "LISTEN_FD": str(descriptor)},
        stop_within_s=context.settings.drain_s + API_ENDS_WITHIN_S,
        inherited=(descriptor,),
        on_line=lambda line: show(f"api    | {line}"),
    )


def _without_secrets(environment: Mapping[str, str]) -> Mapping[str, str]:
    return {name: value for name, value in environment.items() if name not in SECRETS}


def _append_line(log: Path, line: str) -> None:
    # A full disk does not stop the server here; Redis reports its own errors.
    with contextlib.suppress(OSError), log.open("a") as opened:
        opened.write(f"{line}\n")
