"""The fork server process: keeps the decoding libraries loaded and forks one sandboxed decoder per request.

Standard input is its control socket. When the parent closes the other end, or dies, the server ends with all
its decoders. It must lead its own process group and must never start a thread.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import wave
from pathlib import Path
from tempfile import TemporaryFile
from typing import NoReturn

import msgspec
import structlog

from shared.fd_channel import FdChannel
from shared.logs import configure_logging
from shared.media import messages
from shared.media.sandboxed_decoder import answer_request, prepare, serve_request

_STDIN = 0
# A decoder is forked ahead only in a pause; right away, the fork would slow down the decoder just started.
_PAUSE_S = 0.01
_SILENCE_RATE_HZ = 44_100
_SILENCE_SAMPLES = 4_410
PREFORKED = 2
"""Decoders that wait for a request. The second one begins with the first request."""

_SILENCE_LIMITS = messages.MediaLimits(max_audio_s=10.0, memory_bytes=0, cpu_s=0.0)

_logger = structlog.get_logger(__name__)


def main() -> None:
    """Serve until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the decoders
    # Both lead to the parent's standard error. Descriptor 2 is left to C libraries, see sandboxed_decoder.
    sys.stderr = sys.stdout
    configure_logging("INFO")
    limits = messages.limits_decoder.decode(sys.argv[1])
    _warm_up()
    gc.collect()
    gc.freeze()  # the decoders share these pages; a collection would copy them
    # The connection breaks if the parent dies before it has read an answer.
    with contextlib.suppress(ConnectionError):
        ForkServer(FdChannel(socket.socket(fileno=_STDIN)), limits).serve()
    os.killpg(0, signal.SIGKILL)


class ForkServer:
    """The server of one parent, which it sends decoders that are forked ahead of their request.

    Most of the time for a short upload goes into the fork and the first touch of each page shared with the
    server. A pre-forked decoder has done both. It serves one request, in the same sandbox as any decoder. It
    ends when the parent closes its channel, or this process dies.
    """

    def __init__(self, channel: FdChannel, limits: messages.MediaLimits) -> None:
        self._channel = channel
        self._limits = limits
        self._waiting = 0
        self._lifeline, self._held = os.pipe()  # the first is at its end when no server holds the second

    def serve(self) -> None:
        """Serve until the parent closes the channel."""
        self._channel.send(msgspec.json.encode(messages.ServerReady()))
        self._fork_ahead(1)
        while (message := self._channel.receive()) is not None:
            payload, fds = message
            match messages.server_order_decoder.decode(payload):
                case messages.DecoderUsed():
                    self._waiting -= 1
                case request:
                    self._channel.send(msgspec.json.encode(self._start_decoder(request, *fds)))
            self._fork_ahead(PREFORKED)

    def _fork_ahead(self, wanted: int) -> None:
        """Fork decoders until so many wait for a request, a message arrives, or a fork fails."""
        while self._waiting < wanted and not self._channel.is_readable(_PAUSE_S):
            with contextlib.ExitStack() as sockets:
                try:
                    ours, theirs = map(sockets.enter_context, socket.socketpair())
                    if os.fork() == 0:
                        # An open copy of this socket would hide the server's death from its parent.
                        _replace_by_null(_STDIN)
                        ours.close()
                        os.close(self._held)
                        self._wait_and_serve(theirs)
                except OSError:
                    return
                self._channel.send(msgspec.json.encode(messages.DecoderForked()), (ours.fileno(),))
                self._waiting += 1

    def _start_decoder(
        self, request: messages.DecoderRequest, upload_fd: int, answer_fd: int
    ) -> messages.ServerReady:
        try:
            if os.fork() == 0:
                prepare(self._limits)
                serve_request(request, self._limits, upload_fd=upload_fd, answer_fd=answer_fd)
        except OSError as error:
            return messages.ServerReady(str(error))
        finally:
            os.close(upload_fd)
            os.close(answer_fd)
        return messages.ServerReady()

    def _wait_and_serve(self, requests: socket.socket) -> NoReturn:
        try:
            _warm_up()
            prepare(self._limits)
            _wait_for_any(requests.fileno(), self._lifeline)
            channel = FdChannel(requests)
            if channel.is_readable(0) and (message := channel.receive()) is not None:
                payload, (upload_fd, answer_fd) = message
                request = messages.request_decoder.decode(payload)
                serve_request(request, self._limits, upload_fd=upload_fd, answer_fd=answer_fd)
        except Exception:  # border of the process: the parent sees a decoder that died without an answer
            _logger.exception("preforked_decoder_failed")
        finally:
            os._exit(1)


def _warm_up() -> None:
    """Probe and decode a moment of silence, so that the libraries have done their one-time work."""
    null = Path(os.devnull)
    with contextlib.suppress(OSError), TemporaryFile(buffering=0) as clip, null.open("wb") as answer:
        with wave.open(clip, "wb") as silence:
            silence.setnchannels(2)
            silence.setsampwidth(2)
            silence.setframerate(_SILENCE_RATE_HZ)
            silence.writeframes(bytes(4 * _SILENCE_SAMPLES))
        request = messages.ProbeUpload(timeout_s=_SILENCE_LIMITS.max_audio_s, stored_s=1.0)
        answer_request(request, _SILENCE_LIMITS, clip, answer)


def _wait_for_any(*descriptors: int) -> None:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    poll.poll()


def _replace_by_null(fd: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, fd)
    os.close(null)


if __name__ == "__main__":
    main()
