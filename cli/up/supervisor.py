"""The supervisor: starts the parts, restarts those that crash, and stops all in order."""

import asyncio
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import psutil

from cli.up.descendants import end_survivors
from cli.up.errors import CannotContinue
from cli.up.output import Show
from cli.up.parts import Part
from cli.up.port import base_url
from cli.up.readiness import check_api, check_redis, wait_until

MAX_RESTARTS = 3
RESTARTS_WITHIN_S = 60.0
FIRST_BACK_OFF_S = 0.25

# `make` forwards a SIGTERM that its whole group has received, and a closing terminal sends SIGHUP twice. Such
# an echo of the first signal does not count as a second one.
ECHO_S = 1.0


class StopRequested(Exception):
    """Raised by `StopSignals.wait` when the first signal comes."""


class StopSignals:
    """A listener for SIGINT, SIGTERM and SIGHUP; create it inside a running event loop.

    The first signal requests a stop in order, a second one calls `on_second`.
    """

    def __init__(self, *, on_second: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._first = asyncio.Event()
        self._first_at_s = 0.0
        self._on_second = on_second
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Under nohup, SIGHUP is ignored: the server is meant to outlive the terminal.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                self._loop.add_signal_handler(number, self._on_signal)

    async def wait(self) -> None:
        """Wait for the first signal.

        Raises:
            StopRequested: the signal has come.
        """
        await self._first.wait()
        raise StopRequested

    def _on_signal(self) -> None:
        if not self._first.is_set():
            self._first_at_s = self._loop.time()
            self._first.set()
        elif self._loop.time() - self._first_at_s >= ECHO_S:
            self._on_second()


class Supervisor:
    """The running parts, until a signal or a failure ends them. Create it inside an event loop.

    `redis` is None if a running Redis is used. `parts` are in the order of the start. All stop in the reverse
    order: the api first, so that no request lacks a worker, and Redis last, because all others use it.
    """

    def __init__(
        self,
        redis: Part | None,
        parts: Sequence[Part],
        *,
        listener: socket.socket,
        redis_url: str,
        show: Show,
    ) -> None:
        self._redis = redis
        self._parts = parts
        self._in_stop_order = [*reversed(parts), *([redis] if redis else [])]
        self._listener = listener
        self._redis_url = redis_url
        self._show = show
        self._exit_code = 0
        self._signals = StopSignals(on_second=self._kill_all)

    async def run(self, on_ready: Callable[[], None]) -> int:
        """Start the parts, keep them running, and stop them; return the exit code."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._signals.wait())
                await self._bring_up(tasks)
                on_ready()
        except* StopRequested:
            self._show(
                "Stopping: the api, then the worker, then Redis. Press Ctrl-C again to kill them at once."
            )
        except* CannotContinue as failures:
            self._exit_code = 1
            for failure in failures.exceptions:
                self._show(f"Stopping, because {failure}")
        finally:
            await self._stop_all()
        return self._exit_code

    async def _bring_up(self, tasks: asyncio.TaskGroup) -> None:
        if self._redis is not None:
            tasks.create_task(keep_running(self._redis, show=self._show))
        await wait_until(partial(check_redis, self._redis_url), name="Redis", show=self._show)
        for part in self._parts:
            tasks.create_task(keep_running(part, show=self._show))
        check = partial(check_api, base_url(self._listener))
        await wait_until(check, name="The api", show=self._show)

    async def _stop_all(self) -> None:
        # New clients are refused at once, instead of waiting for an api that does not come back.
        self._listener.close()
        descendants = psutil.Process().children(recursive=True)
        for part in self._in_stop_order:
            await part.stop()
        for pid in await asyncio.to_thread(end_survivors, descendants):
            self._show(f"Killed process {pid}, which had outlived its parent.")
        self._show("Stopped. Queued jobs continue after the next start.")

    def _kill_all(self) -> None:
        self._exit_code = 1
        self._show("Killing all parts.")
        for part in self._in_stop_order:
            part.kill()


async def keep_running(part: Part, *, show: Show) -> None:
    """Start `part`, and start it again whenever it ends, after a growing pause.

    Raises:
        CannotContinue: the part cannot be started, or needs more than MAX_RESTARTS in RESTARTS_WITHIN_S.
    """
    restarts: deque[float] = deque()
    while True:
        try:
            await part.start()
        except OSError as problem:
            raise CannotContinue(f"{part.name} cannot be started: {problem}") from problem
        reason = await part.wait()
        now = time.monotonic()
        while restarts and now - restarts[0] > RESTARTS_WITHIN_S:
            restarts.popleft()
        if len(restarts) >= MAX_RESTARTS:
            raise CannotContinue(_describe_failure(part, reason))
        back_off_s = FIRST_BACK_OFF_S * 2 ** len(restarts)
        restarts.append(now)
        show(f"{part.name} ended unexpectedly ({reason}); it restarts in {back_off_s:g} s.")
        await asyncio.sleep(back_off_s)


def _describe_failure(part: Part, reason: str) -> str:
    last_lines = "".join(f"\n  {line}" for line in part.last_lines)
    return (
        f"{part.name} ended {MAX_RESTARTS + 1} times within {RESTARTS_WITHIN_S:g} s, the last time with "
        f"{reason}. Its last lines:{last_lines or ' none.'}"
    )
