"""The supervisor: brings the parts up, starts again what crashes, and ends everything in order."""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from cli.up.descendants import end_survivors, list_descendants
from cli.up.keeper import Keeper
from cli.up.parts import Part
from cli.up.port import base_url
from cli.up.readiness import ask_api, ask_redis, wait_until
from cli.up.stop_signals import StopAsked, StopSignals
from cli.up.welcome import tell_welcome

MAX_RESTARTS = 3
RESTARTS_WITHIN_S = 60.0
FIRST_BACK_OFF_S = 0.25

Say = Callable[[str], None]


class CannotGoOn(Exception):
    """Raised when something that the server needs has ended for good; the message says what and why."""


@dataclass(frozen=True)
class Parts:
    """What the server is made of; `redis` is None where one is used that runs already."""

    redis: Part | None
    worker: Part
    webhooks: Part
    api: Part

    @property
    def in_stop_order(self) -> list[Part]:
        """The worker is needed until no request comes in any more, and Redis until all others have let go."""
        parts = (self.api, self.worker, self.webhooks, self.redis)
        return [part for part in parts if part is not None]


class Supervisor:
    """Runs the parts until a signal or a failure ends them; made inside a running event loop."""

    def __init__(
        self, parts: Parts, *, listener: socket.socket, redis_url: str, keeper: Keeper, say: Say
    ) -> None:
        self._parts = parts
        self._listener = listener
        self._redis_url = redis_url
        self._keeper = keeper
        self._say = say
        self._exit_code = 0
        self._began_s = time.monotonic()
        self._signals = StopSignals(on_insist=self._kill_all)

    async def run(self) -> int:
        """Start the parts, keep them running, and stop them; returns the exit code."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._signals.wait())
                tasks.create_task(self._watch_keeper())
                await self._bring_up(tasks)
        except* StopAsked:
            self._say(
                "Stopping: the api, then the worker, the webhooks, then Redis. Ctrl-C again ends all at once."
            )
        except* CannotGoOn as failures:
            self._exit_code = 1
            for failure in failures.exceptions:
                self._say(f"Stopping, because {failure}")
        finally:
            await self._stop_all()
        return self._exit_code

    async def _bring_up(self, tasks: asyncio.TaskGroup) -> None:
        if self._parts.redis is not None:
            tasks.create_task(keep_running(self._parts.redis, say=self._say))
        await wait_until(partial(ask_redis, self._redis_url), what="Redis", say=self._say)
        for part in (self._parts.worker, self._parts.webhooks, self._parts.api):
            tasks.create_task(keep_running(part, say=self._say))
        url = base_url(self._listener)
        await wait_until(partial(ask_api, url), what="the api and the worker", say=self._say)
        self._say(tell_welcome(url, started_in_s=time.monotonic() - self._began_s))

    async def _watch_keeper(self) -> None:
        await self._keeper.wait()
        raise CannotGoOn("the keeper process was killed, and nothing would end the parts if this one were.")

    async def _stop_all(self) -> None:
        # Who connects from now on is refused at once, instead of waiting for an api that does not come back.
        self._listener.close()
        descendants = list_descendants(besides=self._keeper.pid)
        for part in self._parts.in_stop_order:
            await part.stop()
        for pid in await asyncio.to_thread(end_survivors, descendants):
            self._say(f"Killed process {pid}, which had outlived the part that started it.")
        await self._keeper.dismiss()
        self._say("Stopped. Jobs that are queued are done after the next start.")

    def _kill_all(self) -> None:
        self._exit_code = 1
        self._say("Ending all at once.")
        for part in self._parts.in_stop_order:
            part.kill()


async def keep_running(part: Part, *, say: Say) -> None:
    """Start `part`, and start it again whenever it ends, after a pause that grows.

    Raises:
        CannotGoOn: it has ended too often within a short time.
    """
    restarts: deque[float] = deque()
    while True:
        try:
            await part.start()
        except OSError as problem:
            raise CannotGoOn(f"{part.name} cannot be started: {problem}") from problem
        reason = await part.wait()
        now = time.monotonic()
        while restarts and now - restarts[0] > RESTARTS_WITHIN_S:
            restarts.popleft()
        if len(restarts) >= MAX_RESTARTS:
            raise CannotGoOn(_tell_failure(part, reason))
        back_off_s = FIRST_BACK_OFF_S * 2 ** len(restarts)
        restarts.append(now)
        say(f"{part.name} ended unexpectedly ({reason}); it is started again in {back_off_s:g} s.")
        await asyncio.sleep(back_off_s)


def _tell_failure(part: Part, reason: str) -> str:
    last_lines = "".join(f"\n  {line}" for line in part.last_lines)
    return (
        f"{part.name} has ended {MAX_RESTARTS + 1} times within {RESTARTS_WITHIN_S:g} s, "
        f"at last with {reason}. The last it wrote:{last_lines or ' nothing.'}"
    )
