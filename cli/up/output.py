"""What is read from the parts and what is written to the terminal, neither ever waiting for the other."""

import asyncio
import contextlib
import os
import queue
import threading
from collections.abc import Callable

MAX_LINE_BYTES = 1 << 16
MAX_UNWRITTEN_LINES = 10_000


class Console:
    """Writes lines to a descriptor from a thread of its own.

    So a terminal or pipe that is gone, or that nobody reads, neither ends the server nor keeps it from
    stopping; lines are dropped instead.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_lines, name="console", daemon=True)
        self._writer.start()

    def say(self, line: str) -> None:
        """Write `line`, soon."""
        if self._lines.qsize() < MAX_UNWRITTEN_LINES:
            self._lines.put(line)

    def close(self) -> None:
        """Write what is left, as far as somebody reads it."""
        self._lines.put(None)
        self._writer.join(timeout=1)

    def _write_lines(self) -> None:
        while (line := self._lines.get()) is not None:
            with contextlib.suppress(OSError):
                unwritten = f"{line}\n".encode()
                while unwritten:
                    unwritten = unwritten[os.write(self._descriptor, unwritten) :]


class PartOutput:
    """Reads the lines of a part from a pipe until the last process that holds its other end has ended."""

    def __init__(self, pipe: int, on_line: Callable[[str], None]) -> None:
        self._pipe = pipe
        self._on_line = on_line
        self._begun = b""
        self._loop = asyncio.get_running_loop()
        os.set_blocking(pipe, False)
        self._loop.add_reader(pipe, self._read)

    def drain(self) -> None:
        """Read what has been written so far: a pipe holds no more than one read takes."""
        if self._pipe >= 0:
            self._read()

    def close(self) -> None:
        """Stop reading. Can be called twice."""
        if self._pipe >= 0:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1

    def _read(self) -> None:
        try:
            chunk = os.read(self._pipe, MAX_LINE_BYTES)
        except BlockingIOError:
            return
        *lines, self._begun = (self._begun + chunk).split(b"\n")
        if self._begun and (not chunk or len(self._begun) > MAX_LINE_BYTES):
            lines.append(self._begun)
            self._begun = b""
        for line in lines:
            self._on_line(line.decode(errors="replace").rstrip("\r"))
        if not chunk:
            self.close()
