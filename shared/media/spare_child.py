"""A child that is forked before it is asked for, and has done on trusted sound what it will be asked to do.

What a small upload takes is mostly the fork and the first touch of each page that the child shares with the
server. A spare has both behind it; it serves one request like any other child, confined by its limits.
"""

import os
import socket
import wave
from collections.abc import Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from typing import NoReturn

import structlog

from shared.errors import UnreadableAudio
from shared.fd_channel import FdChannel
from shared.media.decode import decode_audio
from shared.media.media_child import serve_request
from shared.media.messages import decode_request
from shared.media.probe import probe_audio

_TRUSTED_RATE_HZ = 44_100
_TRUSTED_SAMPLES = 4_410
_LONG_ENOUGH_S = 10.0

_logger = structlog.get_logger(__name__)


class SpareChild:
    """A child that waits for its one request. It ends when this side of its channel closes."""

    def __init__(self, control_fd: int) -> None:
        """Fork it; `control_fd`, by which the server is spoken to, is the server's alone.

        Raises:
            OSError: the system has no room for another process.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                pid = os.fork()
            except OSError:
                ours.close()
                raise
            if pid == 0:
                # Held on to, they would keep the server's death from being seen, by its parent and here.
                _put_nothing_on(control_fd)
                ours.close()
                _wait_and_serve(FdChannel(theirs))
        self._channel = FdChannel(ours)

    def hand_over(self, payload: bytes, fds: Sequence[int]) -> bool:
        """Give it its request and duplicates of `fds`; false where it had died before."""
        try:
            self._channel.send(payload, fds)
        except OSError:
            return False
        finally:
            self._channel.close()
        return True


def warm_up() -> None:
    """Probe and decode a moment of silence, so that whatever the libraries do once is done."""
    with suppress(OSError, UnreadableAudio), TemporaryFile(buffering=0) as clip:
        with wave.open(clip, "wb") as silence:
            silence.setnchannels(2)
            silence.setsampwidth(2)
            silence.setframerate(_TRUSTED_RATE_HZ)
            silence.writeframes(bytes(4 * _TRUSTED_SAMPLES))
        probe_audio(clip, max_audio_s=_LONG_ENOUGH_S)
        for _ in decode_audio(clip, max_audio_s=_LONG_ENOUGH_S):
            pass


def _put_nothing_on(fd: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, fd)
    os.close(nothing)


def _wait_and_serve(channel: FdChannel) -> NoReturn:
    try:
        warm_up()
        message = channel.receive()
        if message is not None:
            payload, (upload_fd, answer_fd) = message
            serve_request(decode_request(payload), upload_fd=upload_fd, answer_fd=answer_fd)
    except Exception:  # border of the process: the parent sees a child that died without a word
        _logger.exception("spare_child_failed")
    finally:
        os._exit(1)
