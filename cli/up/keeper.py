"""The supervisor's side of the keeper process."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import DEVNULL
from typing import Self

PROGRAM = Path(__file__).with_name("keeper_process.py")


class Keeper:
    """The keeper process and the pipe to it, whose end means that the supervisor is gone.

    A part announces itself: it gets `pipe` as its stdin, writes its name and process group there, and lets go
    of it. So there is no moment in which a part runs that the keeper would not learn of.
    """

    def __init__(self, process: asyncio.subprocess.Process, pipe: int) -> None:
        self._process = process
        self.pipe = pipe

    @classmethod
    async def start(cls, *, kill_order: Sequence[str], lock: int) -> Self:
        """Start the process. It shares the data folder's lock, which so outlasts what it may have to end."""
        pipe_end, pipe = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(PROGRAM), *kill_order),
                stdin=pipe_end,
                stdout=DEVNULL,
                stderr=DEVNULL,
                pass_fds=(lock,),
                start_new_session=True,
            )
        finally:
            os.close(pipe_end)
        return cls(process, pipe)

    @property
    def pid(self) -> int:
        """The keeper's process id."""
        return self._process.pid

    def forget(self, name: str) -> None:
        """Say that the part `name` has ended."""
        self._write(f"{name} 0\n")

    async def wait(self) -> None:
        """Return when the keeper has ended, which it does unasked only if somebody kills it."""
        await self._process.wait()

    async def dismiss(self) -> None:
        """Say that nothing is left to end, and wait until the keeper is gone."""
        self._write("bye\n")
        os.close(self.pipe)
        await self._process.wait()

    def _write(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self.pipe, line.encode())
