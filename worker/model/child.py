"""The model process as a child: its start, the channel to it, and the end of its process group."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence

import msgspec

from shared.fd_channel import FdChannel
from worker.model import messages

EXIT_GRACE_S = 2.0
"""Seconds for a model process to exit after its channel is closed. Then it is killed."""


class ModelChild:
    """A model process from its start to its end. Its standard input is the channel."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the process with `environment` added to that of this process."""
        ours, theirs = socket.socketpair()
        self._channel = FdChannel(ours)
        with theirs:
            # It leads its own process group, so that its children can be killed with it.
            self._process = subprocess.Popen(
                command, stdin=theirs.fileno(), env=os.environ | environment, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The id of the process and of its group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code after the end, negative for a signal."""
        return self._process.returncode

    def send(self, order: messages.Order, descriptors: Sequence[int]) -> None:
        """Send an order with descriptors, of which the process gets copies.

        Raises:
            OSError: the process has ended.
        """
        self._channel.send(msgspec.json.encode(order), descriptors)

    def is_readable(self, timeout_s: float) -> bool:
        """Wait for a report or the end of the process; return false after `timeout_s`."""
        return self._channel.is_readable(timeout_s)

    def receive(self) -> messages.Report | None:
        """Return the next report, or None if the process has ended."""
        message = self._channel.receive()
        return None if message is None else messages.report_decoder.decode(message[0])

    def end(self, grace_s: float) -> None:
        """Close the channel, wait `grace_s` for the exit, and kill what is left of the group."""
        self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if grace_s > 0:
                self._process.wait(grace_s)
        self._kill_group()

    def _kill_group(self) -> None:
        """Kill the group, and wait until no process is left that could hold memory of the device."""
        deadline = time.monotonic() + EXIT_GRACE_S
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
            while time.monotonic() < deadline:
                os.killpg(self.pid, 0)
                time.sleep(0.005)
        self._process.wait()
