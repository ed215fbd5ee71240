"""The fork server process: keeps the decoding libraries loaded and forks one sandboxed decoder per request.

Standard input is its control socket. When the parent closes the other end, or dies, the server ends with all
its decoders. It must lead its own process group and must never start a thread.
"""

import contextlib
import gc
import os
import signal
import socket
import sys
import wave
from collections.abc import Sequence
from tempfile import TemporaryFile
from typing import NoReturn

import msgspec
import structlog

from shared.errors import UnreadableAudio
from shared.fd_channel import FdChannel
from shared.logs import configure_logging
from shared.media.decode import decode_audio
from shared.media.messages import ServerReady, request_decoder
from shared.media.probe import probe_audio
from shared.media.sandboxed_decoder import serve_request

_STDIN = 0
# A decoder is forked ahead only in a pause; right away, the fork would slow down the decoder just started.
_PAUSE_S = 0.01
_SILENCE_RATE_HZ = 44_100
_SILENCE_SAMPLES = 4_410
_SILENCE_LIMIT_S = 10.0

_logger = structlog.get_logger(__name__)


def main() -> None:
    """Serve until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the decoders
    # Both lead to the parent's standard error. Descriptor 2 is left to C libraries, see sandboxed_decoder.
    sys.stderr = sys.stdout
    configure_logging("INFO")
    _warm_up()
    gc.collect()
    gc.freeze()  # the decoders share these pages; a collection would copy them
    # The connection breaks if the parent dies before it has read an answer.
    with contextlib.suppress(ConnectionError):
        _serve_requests(FdChannel(socket.socket(fileno=_STDIN)))
    os.killpg(0, signal.SIGKILL)


def _serve_requests(channel: FdChannel) -> None:
    channel.send(msgspec.json.encode(ServerReady()))
    preforked = _fork_ahead(channel)
    while (message := channel.receive()) is not None:
        payload, fds = message
        answer = _start_decoder(payload, fds, preforked)
        channel.send(msgspec.json.encode(answer))
        preforked = _fork_ahead(channel)


def _fork_ahead(channel: FdChannel) -> FdChannel | None:
    """Return the channel to a decoder forked before its request, or None if a request waits or a fork fails.

    Most of the time for a short upload goes into the fork and the first touch of each page shared with the
    server. A pre-forked decoder has done both. It serves one request, in the same sandbox as any decoder. It
    ends when this side of its channel closes.
    """
    if channel.is_readable(_PAUSE_S):
        return None
    with contextlib.suppress(OSError), contextlib.ExitStack() as on_error:
        ours, theirs = map(on_error.enter_context, socket.socketpair())
        if os.fork() == 0:
            # Open copies of these sockets would hide the server's death from its parent and from here.
            _replace_by_null(_STDIN)
            ours.close()
            _wait_and_serve(FdChannel(theirs))
        on_error.pop_all()
        theirs.close()
        return FdChannel(ours)
    return None


def _hand_over(preforked: FdChannel, payload: bytes, fds: Sequence[int]) -> bool:
    """Pass on a request with duplicates of `fds`. Return false if the decoder has died before."""
    try:
        preforked.send(payload, fds)
    except OSError:
        return False
    finally:
        preforked.close()
    return True


def _start_decoder(payload: bytes, fds: Sequence[int], preforked: FdChannel | None) -> ServerReady:
    upload_fd, answer_fd = fds
    try:
        if preforked is not None and _hand_over(preforked, payload, fds):
            return ServerReady()
        if os.fork() == 0:
            serve_request(request_decoder.decode(payload), upload_fd=upload_fd, answer_fd=answer_fd)
    except OSError as error:
        return ServerReady(str(error))
    finally:
        os.close(upload_fd)
        os.close(answer_fd)
    return ServerReady()


def _warm_up() -> None:
    """Probe and decode a moment of silence, so that the libraries have done their one-time work."""
    with contextlib.suppress(OSError, UnreadableAudio), TemporaryFile(buffering=0) as clip:
        with wave.open(clip, "wb") as silence:
            silence.setnchannels(2)
            silence.setsampwidth(2)
            silence.setframerate(_SILENCE_RATE_HZ)
            silence.writeframes(bytes(4 * _SILENCE_SAMPLES))
        probe_audio(clip, max_audio_s=_SILENCE_LIMIT_S)
        for _ in decode_audio(clip, max_audio_s=_SILENCE_LIMIT_S):
            pass


def _replace_by_null(fd: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, fd)
    os.close(null)


def _wait_and_serve(channel: FdChannel) -> NoReturn:
    try:
        _warm_up()
        message = channel.receive()
        if message is not None:
            payload, (upload_fd, answer_fd) = message
            serve_request(request_decoder.decode(payload), upload_fd=upload_fd, answer_fd=answer_fd)
    except Exception:  # border of the process: the parent sees a decoder that died without an answer
        _logger.exception("preforked_decoder_failed")
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
