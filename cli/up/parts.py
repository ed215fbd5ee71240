"""One supervised process: started in a session of its own, its output read, ended with all its group."""

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from subprocess import STDOUT

from cli.up.keeper import Keeper
from cli.up.output import PartOutput

# The shell tells the keeper the process id that the part is about to have, then becomes the part.
ANNOUNCE_AND_BECOME = 'echo "$0 $$" >&0 && exec "$@" </dev/null'
LAST_LINES = 10


@dataclass(frozen=True)
class PartPlan:
    """How a part is started and ended. `inherited` are descriptors that it shares."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    stop_within_s: float
    inherited: tuple[int, ...] = ()
    on_line: Callable[[str], None] = field(default=lambda _: None)


class Part:
    """The process of a plan, which can be started again when it has ended.

    It gets a session of its own because a terminal sends Ctrl-C to its whole foreground group, and the parts
    must not all stop at once.
    """

    def __init__(self, plan: PartPlan, keeper: Keeper) -> None:
        self.name = plan.name
        self._plan = plan
        self._keeper = keeper
        self._process: asyncio.subprocess.Process | None = None
        self._group: int | None = None  # None once its number may belong to others
        self._output: PartOutput | None = None
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)

    @property
    def pid(self) -> int | None:
        """The process id, as long as it is this process's; None where it has ended."""
        return self._group

    @property
    def last_lines(self) -> list[str]:
        """The last lines it has written."""
        return list(self._last_lines)

    async def start(self) -> None:
        """Start the process. Needs: it has not been started, or `wait` has returned."""
        self._last_lines.clear()
        output, output_end = os.pipe()
        self._output = PartOutput(output, self._on_line)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *("/bin/sh", "-c", ANNOUNCE_AND_BECOME, self.name, *self._plan.command),
                stdin=self._keeper.pipe,
                # Not asyncio's own pipe: its `wait` would last as long as any grandchild holds that.
                stdout=output_end,
                stderr=STDOUT,
                env=self._plan.environment,
                pass_fds=self._plan.inherited,
                start_new_session=True,
            )
            self._group = self._process.pid
        finally:
            os.close(output_end)

    async def wait(self) -> str:
        """Wait until the process has ended, end what is left of its group, and return why it ended."""
        if self._process is None:
            return "never started"
        exit_code = await self._process.wait()
        self.kill()
        self._group = None
        self._keeper.forget(self.name)
        if self._output is not None:
            self._output.drain()
        return tell_exit(exit_code)

    async def stop(self) -> None:
        """Ask the process to end, and kill it with its group if it has not done so in time."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), self._plan.stop_within_s)
        self.kill()
        await self.wait()

    def kill(self) -> None:
        """Kill every process of its group at once."""
        if self._group is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS refuses for zombies
                os.killpg(self._group, signal.SIGKILL)

    def _on_line(self, line: str) -> None:
        self._last_lines.append(line)
        self._plan.on_line(line)


def tell_exit(exit_code: int) -> str:
    """Why a process ended, for people; `exit_code` is negative for a signal, as in `subprocess`."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    return f"signal {-exit_code}, {signal.strsignal(-exit_code)}"
