"""A child process that answers each line on its standard input with one line."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE

from scripts.purposes import REPOSITORY

MAX_ANSWER_BYTES = 1 << 28


class ChildEnded(Exception):
    """Raised when the child ends instead of answering; its output is above."""


class LineProcess:
    """The process of a module, as its parent controls it."""

    def __init__(self, module: str, process: asyncio.subprocess.Process) -> None:
        self._module = module
        self._process = process

    async def ask(self, line: bytes) -> bytes:
        """Send a line and return the answer.

        Raises:
            ChildEnded: the process ended.
        """
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        if pipe_in is None or pipe_out is None:
            raise ChildEnded(f"{self._module} has no pipes")
        pipe_in.write(line + b"\n")
        await pipe_in.drain()
        answer = await pipe_out.readline()
        if not answer:
            raise ChildEnded(f"{self._module} ended with code {await self._process.wait()}")
        return answer


@asynccontextmanager
async def open_line_process(
    python: Path | str, module: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[LineProcess]:
    """Start `module` with this Python; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        *(str(python), "-m", module, *arguments),
        cwd=REPOSITORY,
        env=environment,
        stdin=PIPE,
        stdout=PIPE,
        limit=MAX_ANSWER_BYTES,
    )
    try:
        yield LineProcess(module, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
