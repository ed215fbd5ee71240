"""The composition root of `up`: checks that a start can succeed, then hands the parts to the supervisor."""

import asyncio
import contextlib
import ipaddress
import os
import shlex
import sys
import time
from pathlib import Path

from cli.up.data_folder import keep_webhook_secret, open_data_folder
from cli.up.errors import CannotStart
from cli.up.output import Console, Show
from cli.up.parts import Part
from cli.up.plans import PartCommands, StartContext, plan_api, plan_redis, plan_worker
from cli.up.port import base_url, open_port
from cli.up.redis_server import choose_redis
from cli.up.settings import LocalServerSettings, parts_environment, read_settings
from cli.up.supervisor import Supervisor
from shared.engine_choice import choose_installed_engine

CLIP = Path(__file__).parents[2] / "tests" / "audio" / "speech.wav"


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
        context = StartContext(settings, redis, lock, listener, environment)
        return asyncio.run(_serve(context, commands, show))


async def _serve(context: StartContext, commands: PartCommands, show: Show) -> int:
    began_s = time.monotonic()
    redis = plan_redis(context)
    parts = [
        Part(plan_worker(context, commands.worker, show)),
        Part(plan_api(context, commands.api, show)),
    ]
    supervisor = Supervisor(
        None if redis is None else Part(redis),
        parts,
        listener=context.listener,
        redis_url=context.redis.url,
        show=show,
    )
    url = base_url(context.listener)
    return await supervisor.run(lambda: show(_describe_use(url, started_in_s=time.monotonic() - began_s)))


def _describe_choices(settings: LocalServerSettings, *, redis_source: str) -> str:
    """Return the engine, the data folder and the Redis, with warnings about access by others."""
    lines = [
        f"engine: {settings.chosen_engine}",
        f"data:   {settings.data_folder}",
        f"redis:  {redis_source}",
    ]
    if settings.engine == "auto":
        lines[0] += f" (ENGINE=auto: {choose_installed_engine().reason})"
    if settings.data_folder.stat().st_mode & 0o077:
        lines.append("        other users of this machine can read it; `chmod 700` makes it private")
    if settings.api_keys.get_secret_value().strip():
        lines.append('keys:   each request needs one of API_KEYS: curl -H "Authorization: Bearer KEY" ...')
    elif not _is_loopback(settings.host):
        lines.append(f"HOST={settings.host}: other machines can use the server without a key; set API_KEYS")
    return "\n".join(lines)


def _describe_use(url: str, *, started_in_s: float) -> str:
    """Return the address, the place of the documentation, and a command that works as pasted."""
    upload = shlex.quote(f"file=@{CLIP if CLIP.exists() else 'recording.wav'}")
    return (
        f"Ready after {started_in_s:.1f} s: {url} (documentation: {url}/docs). Try it:\n"
        f"  curl -F {upload} {url}/v1/audio/transcriptions\n"
        "Ctrl-C stops the server."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
