"""The media service: the only way for api and worker to examine and decode untrusted media."""

import contextlib
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

from shared.errors import AudioTooLong, MediaServiceDown, UnreadableAudio
from shared.media import messages
from shared.media.server_process import ForkServerProcess
from shared.settings import SharedSettings

_MAX_ANSWER_BYTES = 65_536
# The kernel ends a decoder at its timeout. Its death may take this long to be noticed here.
_DEATH_GRACE_S = 2.0

_GAVE_UP = messages.Unreadable(
    "The decoder gave up on this file: it crashed, or needed more than DECODER_MEMORY_BYTES or "
    "DECODER_CPU_S allow. Convert the file to wav, flac or mp3."
)

_logger = structlog.get_logger(__name__)


class MediaService:
    """A client of the fork server that probes and decodes uploads. Thread-safe; its calls block.

    If the fork server has died, the next call replaces it, or raises MediaServiceDown if that fails.
    """

    def __init__(self, limits: messages.MediaLimits, *, probe_timeout_s: float) -> None:
        self._limits = limits
        self._probe_timeout_s = probe_timeout_s
        self._lock = threading.Lock()  # one request at a time on the server's socket
        self._server: ForkServerProcess | None = None
        self._is_open = False

    def start(self) -> None:
        """Start the fork server and wait until it is ready. If that fails, the next call tries again."""
        with self._lock:
            self._is_open = True
            try:
                self._running_server()
            except OSError:
                _logger.exception("fork_server_not_started")

    def stop(self) -> None:
        """End the fork server and its decoders. Later calls raise MediaServiceDown until the next start."""
        with self._lock:
            self._is_open = False
            self._end_server()

    def probe(self, path: Path, *, param: str = "file") -> float:
        """Examine the content of the file at `path`, and return its duration in seconds.

        The name of the file does not matter. `param` is the form field that errors name.

        Raises:
            UnreadableAudio: the file has no sound that can be decoded, or the examination exceeded a limit.
            AudioTooLong: the file holds more sound than the limit.
            MediaServiceDown: no decoder could be forked.
            FileNotFoundError: the file does not exist.
        """
        began_at = time.monotonic()
        ours, theirs = socket.socketpair()
        with ours:
            with theirs, path.open("rb", buffering=0) as upload:
                request = messages.ProbeUpload(self._limits, self._probe_timeout_s)
                self._fork_decoder(request, (upload.fileno(), theirs.fileno()))
            match self._receive_probe_answer(ours, began_at):
                case messages.Probed(duration_s):
                    return duration_s
                case messages.TooLong():
                    raise AudioTooLong(self._limits.max_audio_s, param=param)
                case messages.Unreadable(message):
                    raise UnreadableAudio(message, param=param)

    def decode_into(
        self, path: Path, pipe_fd: int, *, declared_duration_s: float | None = None, start_sample: int = 0
    ) -> None:
        """Let a decoder write the sound of `path` to `pipe_fd`, and return at once.

        The sound is framed as in `pcm_frames`; the frames also report how decoding ended. The decoder ends
        when the pipe has no reader. The caller closes its own copy of `pipe_fd`. `start_sample` counts at
        16 kHz; earlier samples are not written. If the file has clearly more sound than
        `declared_duration_s`, which the probe reported, decoding ends with a failure.

        Raises:
            MediaServiceDown: no decoder could be forked.
            FileNotFoundError: the file does not exist.
        """
        request = messages.DecodeUpload(self._limits, start_sample, declared_duration_s)
        with path.open("rb", buffering=0) as upload:
            self._fork_decoder(request, (upload.fileno(), pipe_fd))

    def _fork_decoder(self, request: messages.DecoderRequest, fds: Sequence[int]) -> None:
        with self._lock:
            for is_replaced in (False, True):
                try:
                    self._running_server().fork_decoder(request, fds)
                except OSError as error:
                    _logger.warning("fork_server_lost", error=str(error))
                    self._end_server()
                    if is_replaced:
                        raise MediaServiceDown from error
                else:
                    return

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

    def _receive_probe_answer(self, answers: socket.socket, began_at: float) -> messages.ProbeAnswer:
        """Return the decoder's answer, or the answer that its death stands for."""
        deadline = time.monotonic() + self._probe_timeout_s + _DEATH_GRACE_S
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return messages.probe_answer_decoder.decode(_receive_all(answers, deadline=deadline))
        if not self._is_open:
            raise MediaServiceDown
        elapsed_s = time.monotonic() - began_at
        _logger.warning("probe_died", elapsed_s=round(elapsed_s, 3))
        return self._too_slow() if elapsed_s >= self._probe_timeout_s else _GAVE_UP

    def _too_slow(self) -> messages.Unreadable:
        return messages.Unreadable(
            f"Examining the file took longer than {self._probe_timeout_s:g} s (PROBE_TIMEOUT_S). "
            "Convert it to wav, flac or mp3, or raise that setting."
        )


def create_media_service(settings: SharedSettings) -> MediaService:
    """Return the media service with the limits of the settings."""
    limits = messages.MediaLimits(settings.max_audio_s, settings.decoder_memory_bytes, settings.decoder_cpu_s)
    return MediaService(limits, probe_timeout_s=settings.probe_timeout_s)


def _receive_all(answers: socket.socket, *, deadline: float) -> bytes:
    """Return all bytes until the other side closes; raise TimeoutError at `deadline` (monotonic clock)."""
    received = b""
    while len(received) <= _MAX_ANSWER_BYTES:
        answers.settimeout(max(deadline - time.monotonic(), 0.001))
        piece = answers.recv(_MAX_ANSWER_BYTES)
        if not piece:
            break
        received += piece
    return received
