"""The parent's side of one fork server process: start it, have it fork children, end it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

import structlog

from shared.errors import MediaServiceDown
from shared.fd_channel import FdChannel
from shared.media.messages import (
    ChildRequest,
    Forked,
    ForkFailed,
    Ready,
    ServerAnswer,
    decode_server_answer,
    encode_message,
)

# -P keeps the working directory off the module path: another folder named `shared` may lie there.
_COMMAND = (sys.executable, "-P", "-m", "shared.media.fork_server")
# All the environment it gets: no keys or passwords for a hijacked decoder to find, and no threads, since a
# process with threads cannot fork safely.
_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}
_STDERR = 2
_START_TIMEOUT_S = 60.0
_FORK_TIMEOUT_S = 10.0
_END_TIMEOUT_S = 2.0

_logger = structlog.get_logger(__name__)


class ForkServerProcess:
    """A running fork server; not thread-safe. It ends when this side of its socket closes, even by death."""

    def __init__(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            OSError: it could not be started, or ended before it was ready.
        """
        self._socket, self._process = _spawn()
        self._channel = FdChannel(self._socket)
        try:
            self._socket.settimeout(_START_TIMEOUT_S)
            self._receive_answer()
            self._socket.settimeout(_FORK_TIMEOUT_S)
        except OSError:
            self.end()
            raise
        _logger.info("fork_server_started", pid=self._process.pid)

    def fork_child(self, request: ChildRequest, fds: Sequence[int]) -> None:
        """Have a child serve `request` with duplicates of `fds`; returns when it was forked.

        Raises:
            OSError: the server is dead or hangs; it must be ended and replaced.
            MediaServiceDown: the server lives, but the system has no room for a child.
        """
        self._channel.send(encode_message(request), fds)
        match self._receive_answer():
            case Forked():
                return
            case ForkFailed(reason):
                _logger.error("media_child_not_forked", reason=reason)
                raise MediaServiceDown
            case Ready():
                raise ConnectionError("the fork server answered out of turn")

    def end(self) -> None:
        """End the server and its children; returns when the server is gone."""
        self._channel.close()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _receive_answer(self) -> ServerAnswer:
        message = self._channel.receive()
        if message is None:
            raise ConnectionError("the fork server is gone")
        return decode_server_answer(message[0])


def _spawn() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start the server in a session of its own, where the terminal's Ctrl-C does not reach it."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            return ours, subprocess.Popen(
                _COMMAND,
                stdin=theirs.fileno(),
                stdout=_STDERR,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
