"""The composition root of `up`: checks that a start can succeed, then hands the parts to the supervisor."""

import asyncio
import contextlib
import ipaddress
import os
import shlex
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cli.up.data_folder import keep_webhook_secret, open_data_folder
from cli.up.errors import CannotStart
from cli.up.output import Console, Show
from cli.up.parts import Part, PartPlan
from cli.up.port import base_url, open_port
from cli.up.redis_server import RedisChoice, choose_redis
from cli.up.settings import (
    SECRETS,
    LocalServerSettings,
    describe_misspelt_settings,
    parts_environment,
    read_settings,
)
from cli.up.supervisor import Supervisor
from shared.engine_choice import choose_installed_engine
from shared.model_folder import DEFAULT_MODEL

CLIP = Path(__file__).parents[2] / "tests" / "audio" / "speech.wav"

DEFAULT_MODEL_SIZE = "about 2 GB"

# The time to end after the grace time for requests and the running job.
API_ENDS_WITHIN_S = 3.0
WORKER_ENDS_WITHIN_S = 6.0
REDIS_ENDS_WITHIN_S = 10.0


@dataclass(frozen=True)
class PartCommands:
    """The commands of our own parts. -P keeps the working directory out of their import path."""

    worker: Sequence[str] = (sys.executable, "-P", "-m", "worker")
    api: Sequence[str] = (sys.executable, "-P", "-m", "api")


def run_local_server(commands: PartCommands | None = None) -> int:
    """Run the server until a signal stops it or it cannot continue, and return the exit code."""
    os.umask(0o077)  # the files of the parts are private to this user, too
    console = Console()
    try:
        return _start(commands or PartCommands(), console.show)
    except CannotStart as problem:
        console.close()
        with contextlib.suppress(OSError):
            print(problem, file=sys.stderr)
        return problem.exit_code
    finally:
        console.close()


def _start(commands: PartCommands, show: Show) -> int:
    settings = read_settings()
    folder = settings.data_folder
    lock = open_data_folder(folder)
    with (
        open_port(settings.host, settings.port) as listener,
        choose_redis(settings.running_redis_url, folder / "redis", fsync=settings.redis_fsync) as redis,
    ):
        show(_describe_choices(settings, redis_source=redis.source))
        environment = dict(parts_environment(settings, redis_url=redis.url))
        if not settings.webhook_secrets:
            environment["WEBHOOK_SECRET"] = keep_webhook_secret(folder)
        start = _Start(settings, redis, lock, listener, environment)
        return asyncio.run(start.serve(commands, show))


@dataclass(frozen=True)
class _Start:
    """The decisions and resources of a start. Parts inherit `lock` and `listener`."""

    settings: LocalServerSettings
    redis: RedisChoice
    lock: int
    listener: socket.socket
    environment: Mapping[str, str]

    async def serve(self, commands: PartCommands, show: Show) -> int:
        """Run the parts under a supervisor, and return the exit code."""
        began_s = time.monotonic()
        supervisor = Supervisor(
            self._plan_redis(),
            [Part(self._plan_worker(commands.worker, show)), Part(self._plan_api(commands.api, show))],
            listener=self.listener,
            redis_url=self.redis.url,
            show=show,
        )
        url = base_url(self.listener)
        key = '-H "Authorization: Bearer KEY" ' if self.settings.needs_keys else ""
        return await supervisor.run(
            lambda: show(_describe_use(url, key, started_in_s=time.monotonic() - began_s))
        )

    def _plan_redis(self) -> Part | None:
        """Return Redis, whose lines go to a file, or None if a running one is used."""
        if self.redis.command is None:
            return None
        plan = PartPlan(
            name="redis",
            command=self.redis.command,
            environment=_without_secrets(self.environment),
            stop_within_s=REDIS_ENDS_WITHIN_S,
            # The lock protects the files of Redis: two servers on the same files would corrupt them.
            inherited=(self.lock,),
            on_line=partial(_append_line, self.settings.data_folder / "logs" / "redis.log"),
        )
        return Part(plan)

    def _plan_worker(self, command: Sequence[str], show: Show) -> PartPlan:
        return PartPlan(
            name="worker",
            command=command,
            environment=_without_secrets(self.environment),
            stop_within_s=self.settings.stop_grace_s + WORKER_ENDS_WITHIN_S,
            on_line=lambda line: show(f"worker | {line}"),
        )

    def _plan_api(self, command: Sequence[str], show: Show) -> PartPlan:
        """Return the plan of the api, which listens on the descriptor in LISTEN_FD."""
        descriptor = self.listener.fileno()
        return PartPlan(
            name="api",
            command=command,
            environment={**self.environment, "LISTEN_FD": str(descriptor)},
            stop_within_s=self.settings.drain_s + API_ENDS_WITHIN_S,
            inherited=(descriptor,),
            on_line=lambda line: show(f"api    | {line}"),
        )


def _without_secrets(environment: Mapping[str, str]) -> Mapping[str, str]:
    return {name: value for name, value in environment.items() if name not in SECRETS}


def _append_line(log: Path, line: str) -> None:
    # A full disk does not stop the server here; Redis reports its own errors.
    with contextlib.suppress(OSError), log.open("a") as opened:
        opened.write(f"{line}\n")


def _describe_choices(settings: LocalServerSettings, *, redis_source: str) -> str:
    """Return the engine, the data folder and the Redis, with warnings about access by others."""
    lines = [
        f"engine: {settings.chosen_engine}",
        f"data:   {settings.data_folder}",
        f"redis:  {redis_source}",
        *describe_misspelt_settings(),
    ]
    if settings.engine == "auto":
        lines[0] += f" (ENGINE=auto: {choose_installed_engine().reason})"
    if settings.chosen_engine != "whisper" and settings.hub_model:
        lines.append(_describe_download(settings.hub_model))
    if settings.data_folder.stat().st_mode & 0o077:
        folder = shlex.quote(str(settings.data_folder))
        lines.append(f"        DATA_DIR is readable by other users; run `chmod 700 {folder}`")
    if settings.needs_keys:
        lines.append("keys:   each request needs one of API_KEYS")
    elif not _is_loopback(settings.host):
        lines.append(f"HOST={settings.host}: other machines can use the server without a key; set API_KEYS")
    return "\n".join(lines)


def _describe_download(model: str) -> str:
    size = DEFAULT_MODEL_SIZE if model == DEFAULT_MODEL else "its page on the hub shows the size"
    return f"The first request downloads the weights of {model} ({size}), unless they are cached already."


def _describe_use(url: str, key: str, *, started_in_s: float) -> str:
    """Return the address, the place of the documentation, and a command that works as pasted.

    `key` is its option for a key, in which KEY stands for one of API_KEYS.
    """
    upload = shlex.quote(f"file=@{CLIP if CLIP.exists() else 'recording.wav'}")
    instead = ", with one of API_KEYS instead of KEY" if key else ""
    return (
        f"Ready after {started_in_s:.1f} s: {url} (documentation: {url}/docs). Try it{instead}:\n"
        f"  curl {key}-F {upload} {url}/v1/audio/transcriptions\n"
        "Ctrl-C stops the server."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
