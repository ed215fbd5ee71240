"""The lines of the parts and the lines on the terminal; neither waits for the other."""

import asyncio
import contextlib
import os
import queue
import threading
from collections.abc import Callable

MAX_LINE_BYTES = 1 << 16
MAX_UNWRITTEN_LINES = 10_000

Show = Callable[[str], None]
"""Shows a line to the user."""


class Console:
    """A writer of lines to a descriptor, with a thread of its own.

    The server neither ends nor hangs when the terminal or pipe is closed or full; lines are dropped instead.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_lines, name="console", daemon=True)
        self._writer.start()

    def show(self, line: str) -> None:
        """Write `line` soon."""
        if self._lines.qsize() < MAX_UNWRITTEN_LINES:
            self._lines.put(line)

    def close(self) -> None:
        """Write the remaining lines; give up after a second if the descriptor does not take them."""
        self._lines.put(None)
        self._writer.join(timeout=1)

    def _write_lines(self) -> None:
        while (line := self._lines.get()) is not None:
            with contextlib.suppress(OSError):
                unwritten = f"{line}\n".encode()
                while unwritten:
                    unwritten = unwritten[os.write(self._descriptor, unwritten) :]


class PartOutput:
    """A reader of the lines of a part, from a pipe, until no process holds its other end."""

    def __init__(self, pipe: int, on_line: Show) -> None:
        self._pipe = pipe
        self._on_line = on_line
        self._open_line = b""
        self._loop = asyncio.get_running_loop()
        os.set_blocking(pipe, False)
        self._loop.add_reader(pipe, self._read)

    def drain(self) -> None:
        """Read what has been written so far: a pipe holds no more than one read takes."""
        if self._pipe >= 0:
            self._read()

    def _read(self) -> None:
        try:
            chunk = os.read(self._pipe, MAX_LINE_BYTES)
        except BlockingIOError:
            return
        *lines, self._open_line = (self._open_line + chunk).split(b"\n")
        if self._open_line and (not chunk or len(self._open_line) > MAX_LINE_BYTES):
            lines.append(self._open_line)
            self._open_line = b""
        for line in lines:
            self._on_line(line.decode(errors="replace").rstrip("\r"))
        if not chunk:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1
