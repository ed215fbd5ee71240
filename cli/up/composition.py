"""The composition root: checks that a start can succeed, then hands the parts to the supervisor."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable

from cli.up.data_folder import lock_data_folder, prepare_data_folder
from cli.up.keeper import Keeper
from cli.up.output import Console
from cli.up.parts import Part
from cli.up.plans import (
    Foundation,
    PartCommands,
    plan_api,
    plan_redis,
    plan_webhooks,
    plan_worker,
)
from cli.up.port import open_port
from cli.up.redis_choice import choose_redis
from cli.up.settings import (
    check_settings_of_parts,
    choose_engine,
    parts_environment,
    read_settings,
)
from cli.up.start_errors import CannotStart
from cli.up.supervisor import Parts, Supervisor
from cli.up.webhook_secret import keep_webhook_secret
from cli.up.welcome import tell_choices

Say = Callable[[str], None]


def run_local_server(commands: PartCommands | None = None) -> int:
    """Run the server until it is told to stop or cannot go on; returns the exit code."""
    os.umask(0o077)  # what the parts write belongs to this user alone, too
    console = Console()
    try:
        return _lay_foundation_and_serve(commands or PartCommands(), console.say)
    except CannotStart as problem:
        console.close()
        with contextlib.suppress(OSError):
            print(problem, file=sys.stderr)
        return problem.exit_code
    finally:
        console.close()


def _lay_foundation_and_serve(commands: PartCommands, say: Say) -> int:
    settings = read_settings()
    choice = choose_engine(settings.engine)
    api_settings = check_settings_of_parts(choice.engine)
    prepare_data_folder(settings.data_folder)
    lock = lock_data_folder(settings.data_folder)
    with open_port(settings.host, settings.port) as listener, choose_redis(settings) as redis:
        asks_for_keys = bool(api_settings.api_keys.get_secret_value().strip())
        say(tell_choices(settings, choice, redis_source=redis.source, asks_for_keys=asks_for_keys))
        environment = dict(parts_environment(settings, engine=choice.engine, redis_url=redis.url))
        if not api_settings.webhook_secrets:
            environment["WEBHOOK_SECRET"] = keep_webhook_secret(settings.data_folder)
        foundation = Foundation(settings, redis, lock, listener, environment)
        return asyncio.run(_serve(foundation, commands, say))


async def _serve(foundation: Foundation, commands: PartCommands, say: Say) -> int:
    keeper = await Keeper.start(kill_order=("api", "worker", "webhooks", "redis"), lock=foundation.lock)
    redis = plan_redis(foundation)
    parts = Parts(
        redis=None if redis is None else Part(redis, keeper),
        worker=Part(plan_worker(foundation, commands.worker, say), keeper),
        webhooks=Part(plan_webhooks(foundation, commands.webhooks, say), keeper),
        api=Part(plan_api(foundation, commands.api, say), keeper),
    )
    supervisor = Supervisor(
        parts, listener=foundation.listener, redis_url=foundation.redis.url, keeper=keeper, say=say
    )
    return await supervisor.run()
