"""Untrusted media examined and decoded in confined children; the only endpoint to them for api and worker."""

import contextlib
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import structlog

from shared.errors import AudioTooLong, MediaServiceDown, UnreadableAudio
from shared.media.messages import (
    AudioProbe,
    ChildRequest,
    DecodeUpload,
    MediaLimits,
    ProbeAnswer,
    Probed,
    ProbeUpload,
    TooLong,
    Unreadable,
    decode_probe_answer,
)
from shared.media.server_process import ForkServerProcess

__all__ = ("AudioProbe", "MediaLimits", "MediaService")

_MAX_ANSWER_BYTES = 65_536
# A child ends itself at its timeout; this is how long its death may take to be seen here.
_DEATH_GRACE_S = 2.0

_GAVE_UP = Unreadable(
    "The decoder gave up on this file: it crashed, or needed more than DECODER_MEMORY_BYTES or "
    "DECODER_CPU_S allow. Convert the file to wav, flac or mp3."
)

_logger = structlog.get_logger(__name__)


class MediaService:
    """Probes and decodes uploads in confined child processes. Thread-safe; its calls block.

    A fork server that died is replaced by the next call; where that fails, the call raises MediaServiceDown.
    """

    def __init__(self, limits: MediaLimits, *, probe_timeout_s: float) -> None:
        self._limits = limits
        self._probe_timeout_s = probe_timeout_s
        self._lock = threading.Lock()  # one request at a time on the server's socket
        self._server: ForkServerProcess | None = None
        self._is_open = False

    def start(self) -> None:
        """Start the fork server; returns when it is ready. Does nothing when it runs.

        Raises:
            MediaServiceDown: it could not be started.
        """
        with self._lock:
            self._is_open = True
            try:
                self._running_server()
            except OSError as error:
                _logger.exception("fork_server_not_started")
                raise MediaServiceDown from error

    def stop(self) -> None:
        """End the fork server and its children; later calls raise MediaServiceDown until the next start."""
        with self._lock:
            self._is_open = False
            self._end_server()

    def __enter__(self) -> Self:
        """Start the service."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the service."""
        self.stop()

    def probe(self, path: Path) -> AudioProbe:
        """Examine the file at `path`, whatever its name says.

        Raises:
            UnreadableAudio: it has no sound that can be decoded, or examining it went past a limit.
            AudioTooLong: it holds more sound than the limit.
            MediaServiceDown: no child could be forked.
            FileNotFoundError: there is no such file.
        """
        asked_at = time.monotonic()
        ours, theirs = socket.socketpair()
        with ours:
            with theirs, path.open("rb", buffering=0) as upload:
                request = ProbeUpload(self._limits, self._probe_timeout_s)
                self._fork_child(request, (upload.fileno(), theirs.fileno()))
            match self._receive_probe_answer(ours, asked_at):
                case Probed(probe):
                    return probe
                case TooLong():
                    raise AudioTooLong(self._limits.max_audio_s)
                case Unreadable(message):
                    raise UnreadableAudio(message)

    def decode_into(
        self, path: Path, pipe_fd: int, *, declared_duration_s: float | None = None, start_sample: int = 0
    ) -> None:
        """Have a child write the sound of `path` to `pipe_fd`, framed as in pcm_frames; does not wait for it.

        The caller closes its own copy of `pipe_fd`. Whoever reads the pipe learns how it ends; the child
        ends when the reader is gone. `start_sample` counts at 16 kHz: what comes before it is not written.
        Of a file with much more sound than `declared_duration_s`, what the probe found, no more is written
        but a failure.

        Raises:
            MediaServiceDown: no child could be forked.
            FileNotFoundError: there is no such file.
        """
        with path.open("rb", buffering=0) as upload:
            self._fork_child(
                DecodeUpload(self._limits, start_sample, declared_duration_s), (upload.fileno(), pipe_fd)
            )

    def _fork_child(self, request: ChildRequest, fds: Sequence[int]) -> None:
        with self._lock:
            try:
                self._running_server().fork_child(request, fds)
            except OSError as error:
                _logger.warning("fork_server_lost", error=str(error))
                self._end_server()
                self._fork_from_new_server(request, fds)

    def _fork_from_new_server(self, request: ChildRequest, fds: Sequence[int]) -> None:
        try:
            self._running_server().fork_child(request, fds)
        except OSError as error:
            _logger.exception("fork_server_not_replaced")
            raise MediaServiceDown from error

    def _running_server(self) -> ForkServerProcess:
        if not self._is_open:
            raise MediaServiceDown
        if self._server is None:
            self._server = ForkServerProcess()
        return self._server

    def _end_server(self) -> None:
        if self._server is not None:
            self._server.end()
            self._server = None

    def _receive_probe_answer(self, answers: socket.socket, asked_at: float) -> ProbeAnswer:
        """What the child says; where it died without a word, what that means for the upload."""
        deadline = time.monotonic() + self._probe_timeout_s + _DEATH_GRACE_S
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return decode_probe_answer(_receive_all(answers, deadline=deadline))
        if not self._is_open:
            raise MediaServiceDown
        elapsed_s = time.monotonic() - asked_at
        _logger.warning("media_probe_died", elapsed_s=round(elapsed_s, 3))
        return self._too_slow() if elapsed_s >= self._probe_timeout_s else _GAVE_UP

    def _too_slow(self) -> Unreadable:
        return Unreadable(
            f"Examining the file took longer than {self._probe_timeout_s:g} s, the limit set by "
            "PROBE_TIMEOUT_S: convert it to wav, flac or mp3, or raise that setting."
        )


def _receive_all(answers: socket.socket, *, deadline: float) -> bytes:
    """All that comes until the other side is closed; raises TimeoutError at `deadline` (monotonic clock)."""
    received = b""
    while len(received) <= _MAX_ANSWER_BYTES:
        answers.settimeout(max(deadline - time.monotonic(), 0.001))
        piece = answers.recv(_MAX_ANSWER_BYTES)
        if not piece:
            break
        received += piece
    return received
