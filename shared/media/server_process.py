"""The parent's side of one fork server process: start it, request decoders, end it."""

import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

import msgspec
import structlog

from shared.errors import MediaServiceDown
from shared.fd_channel import FdChannel
from shared.media import messages

# -P keeps the working directory off the import path; it may contain another folder named `shared`.
_COMMAND = (sys.executable, "-P", "-m", "shared.media.fork_server")
# The whole environment of the server. A hijacked decoder finds no keys or passwords in it. The libraries
# start no threads, since a process with threads cannot fork safely.
_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}
_STDERR = 2
_USED = msgspec.json.encode(messages.DecoderUsed())
_START_TIMEOUT_S = 60.0
_FORK_TIMEOUT_S = 10.0
_END_TIMEOUT_S = 2.0

_logger = structlog.get_logger(__name__)


class ForkServerProcess:
    """A running fork server; not thread-safe. It ends when this process closes the socket or dies.

    The server forks decoders ahead and hands over their channels. So a request reaches its decoder without a
    process in between.
    """

    def __init__(self, limits: messages.MediaLimits) -> None:
        """Start the process and wait until it is ready. Its decoders get the `limits`.

        Raises:
            OSError: the server could not be started, or ended before it was ready.
        """
        self._socket, self._process = _spawn(limits)
        self._channel = FdChannel(self._socket)
        self._preforked: deque[FdChannel] = deque()
        try:
            self._socket.settimeout(_START_TIMEOUT_S)
            self._wait_until_ready()
            self._socket.settimeout(_FORK_TIMEOUT_S)
        except OSError:
            self.end()
            raise
        _logger.info("fork_server_started", pid=self._process.pid)

    def start_decoder(self, request: messages.DecoderRequest, fds: Sequence[int]) -> None:
        """Let a decoder serve `request` with duplicates of `fds`; return once it is forked.

        Raises:
            OSError: the server is dead or hangs. The caller must end and replace it.
            MediaServiceDown: the server works, but the system has no room for a decoder.
        """
        while self._channel.is_readable(0):
            self._receive()
        payload = msgspec.json.encode(request)
        while self._preforked:
            if self._hand_over(self._preforked.popleft(), payload, fds):
                return
        self._channel.send(payload, fds)
        if reason := self._wait_until_ready().fork_error:
            _logger.error("decoder_not_forked", reason=reason)
            raise MediaServiceDown

    def end(self) -> None:
        """End the server and its decoders; return when the server is gone."""
        self._channel.close()
        for decoder in self._preforked:
            decoder.close()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _hand_over(self, decoder: FdChannel, payload: bytes, fds: Sequence[int]) -> bool:
        """Send a request to a decoder that was forked ahead. Return false if it has died before."""
        try:
            decoder.send(payload, fds)
        except OSError:
            return False
        finally:
            decoder.close()
            with suppress(OSError):  # the next call notices a server that is gone
                self._channel.send(_USED)
        return True

    def _wait_until_ready(self) -> messages.ServerReady:
        while True:
            answer = self._receive()
            if isinstance(answer, messages.ServerReady):
                return answer

    def _receive(self) -> messages.ServerAnswer:
        """Return the next answer, and keep the decoder that comes with it."""
        message = self._channel.receive()
        if message is None:
            raise ConnectionError("the fork server is gone")
        payload, descriptors = message
        self._preforked += (FdChannel(socket.socket(fileno=descriptor)) for descriptor in descriptors)
        return messages.server_answer_decoder.decode(payload)


def _spawn(limits: messages.MediaLimits) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start the server in its own session, which the terminal's Ctrl-C does not reach."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            return ours, subprocess.Popen(
                (*_COMMAND, msgspec.json.encode(limits).decode()),
                stdin=theirs.fileno(),
                stdout=_STDERR,
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
