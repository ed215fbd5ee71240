"""A supervised process: it has its own session, is tied to the supervisor, and ends with its whole group."""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from subprocess import DEVNULL, STDOUT

from cli.up.output import PartOutput, Show
from shared import parent_death

LAST_LINES = 10


@dataclass(frozen=True)
class PartPlan:
    """The command of a part and its time to stop. `inherited` are descriptors that it shares."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    stop_within_s: float
    on_line: Show
    inherited: tuple[int, ...] = ()


class Part:
    """The process of a plan, which can be started again after its end.

    It gets its own session, because a terminal sends Ctrl-C to its whole foreground group, and the parts must
    not all stop at once.
    """

    def __init__(self, plan: PartPlan) -> None:
        self.name = plan.name
        self._plan = plan
        self._process: asyncio.subprocess.Process | None = None
        self._group: int | None = None  # None once the number may belong to another process
        self._output: PartOutput | None = None
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)

    @property
    def pid(self) -> int | None:
        """The process id, or None after the end of the process."""
        return self._group

    async def start(self) -> None:
        """Start the process. Call it on the main thread, before the first `wait` or after one returned."""
        self.last_lines.clear()
        output, output_end = os.pipe()
        self._output = PartOutput(output, self._on_line)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *_tie(self._plan.command),
                stdin=DEVNULL,
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
        """Wait until the process has ended, kill the rest of its group, and return the cause of the end."""
        if self._process is None:
            return "never started"
        exit_code = await self._process.wait()
        self.kill()
        self._group = None
        if self._output is not None:
            self._output.drain()
        return describe_exit(exit_code)

    async def stop(self) -> None:
        """Send SIGTERM to the process, and kill it with its group if it does not end in time."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), self._plan.stop_within_s)
        self.kill()
        await self.wait()

    def kill(self) -> None:
        """Kill every process of the group at once."""
        if self._group is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS refuses for zombies
                os.killpg(self._group, signal.SIGKILL)

    def _on_line(self, line: str) -> None:
        self.last_lines.append(line)
        self._plan.on_line(line)


def describe_exit(exit_code: int) -> str:
    """Return why a process ended; `exit_code` is negative for a signal, as in `subprocess`."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    return f"signal {-exit_code}, {signal.strsignal(-exit_code)}"


def _tie(command: Sequence[str]) -> Sequence[str]:
    """Return a command that becomes `command`, and that the kernel kills if this process is killed.

    A small program sets this up, which takes about 10 ms. `preexec_fn` is not safe here, because the console
    has a thread. asyncio forks on the calling thread, and the kernel follows that thread: the main thread.

    macOS has no such call. There, parts survive a kill -9 of the supervisor. The next start then refuses the
    data folder, whose lock Redis still holds.
    """
    if sys.platform != "linux":
        return command
    return (sys.executable, "-I", "-S", parent_death.__file__, str(os.getpid()), *command)
