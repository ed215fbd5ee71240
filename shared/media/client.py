"""The media service: the only way for api and worker to examine and decode untrusted media."""

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import structlog

from shared.audio_format import FROM_THE_START, SAMPLE_RATE_HZ, AudioStart
from shared.errors import AudioTooLong, MediaServiceDown, UnreadableAudio
from shared.media import messages
from shared.media.pcm_frames import SAMPLE_BYTES, DecodingFailed, read_frames, read_message
from shared.media.server_process import ForkServerProcess
from shared.media.stored_samples import store_samples
from shared.settings import SharedSettings

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

    def open(self) -> None:
        """Let the first call start the fork server, which takes some tenths of a second."""
        with self._lock:
            self._is_open = True

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

    @contextmanager
    def begin_probe(
        self, path: Path, *, stored_s: float = 0.0, audio_track: tuple[str, ...] = ()
    ) -> Iterator["Probe"]:
        """Let a decoder examine the `audio_track` of the file at `path`, for the length of the block.

        The decoder also decodes sound of at most `stored_s`.

        Raises:
            MediaServiceDown: no decoder could be forked.
            FileNotFoundError: the file does not exist.
        """
        request = messages.ProbeUpload(self._probe_timeout_s, stored_s, audio_track)
        ours, theirs = socket.socketpair()
        with ours:
            with theirs, path.open("rb", buffering=0) as upload:
                self._start_decoder(request, (upload.fileno(), theirs.fileno()))
            max_audio_s = self._limits.max_audio_s
            yield Probe(ours, request, max_audio_s=max_audio_s, is_service_up=lambda: self._is_open)

    def decode_into(
        self,
        path: Path,
        pipe_fd: int,
        *,
        declared_duration_s: float | None = None,
        start: AudioStart = FROM_THE_START,
        audio_track: tuple[str, ...] = (),
    ) -> None:
        """Let a decoder write the sound of `path` to `pipe_fd`, and return at once.

        The sound is framed as in `pcm_frames`; the frames also report how decoding ended. The decoder ends
        when the pipe has no reader. The caller closes its own copy of `pipe_fd`. Samples before `start` are
        not written. If the file has clearly more sound than `declared_duration_s`, which the probe reported,
        decoding ends with a failure.

        Raises:
            MediaServiceDown: no decoder could be forked.
            FileNotFoundError: the file does not exist.
        """
        request = messages.DecodeUpload(declared_duration_s, start, audio_track)
        with path.open("rb", buffering=0) as upload:
            self._start_decoder(request, (upload.fileno(), pipe_fd))

    def _start_decoder(self, request: messages.DecoderRequest, fds: Sequence[int]) -> None:
        with self._lock:
            for is_replaced in (False, True):
                try:
                    self._running_server().start_decoder(request, fds)
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
            self._server = ForkServerProcess(self._limits)
        return self._server

    def _end_server(self) -> None:
        if self._server is not None:
            self._server.end()
            self._server = None


class Probe:
    """The examination of one upload, from the side that waits for it."""

    def __init__(
        self,
        answers: socket.socket,
        request: messages.ProbeUpload,
        *,
        max_audio_s: float,
        is_service_up: Callable[[], bool],
    ) -> None:
        self._answers = answers
        self._request = request
        self._max_audio_s = max_audio_s
        self._is_service_up = is_service_up
        self._began_at = time.monotonic()
        self._duration_s = math.inf
        self.has_trailing_data = False
        """Whether other media follow in the file, which are not read. Known after the duration."""

    def receive_duration_s(self, *, param: str = "file") -> float:
        """Return the duration of the upload in seconds. `param` is the form field that errors name.

        Raises:
            UnreadableAudio: the file has no sound that can be decoded, or the examination exceeded a limit.
            AudioTooLong: the file holds more sound than the limit.
            MediaServiceDown: the service was stopped.
        """
        match self._receive_answer():
            case messages.Probed(duration_s, has_trailing_data):
                self._duration_s, self.has_trailing_data = duration_s, has_trailing_data
                return duration_s
            case messages.TooLong():
                raise AudioTooLong(self._max_audio_s, param=param)
            case messages.Unreadable(message, field):
                raise UnreadableAudio(message, param=param if field == "file" else field)

    def store_samples(self, path: Path, *, upload_sha256: str) -> None:
        """Store the samples of a short upload at `path`, if it can be decoded. Call it after the duration.

        Without stored samples, the upload is decoded later, and that reports what is wrong with it.
        """
        if self._duration_s <= self._request.stored_s:
            max_samples = round(messages.limit_decoded_s(self._duration_s) * SAMPLE_RATE_HZ)
            blocks = (found for found in read_frames(self) if isinstance(found, bytes))
            max_bytes = max_samples * SAMPLE_BYTES
            store_samples(blocks, path, upload_sha256=upload_sha256, max_bytes=max_bytes)

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes of the decoder's answer.

        Raises:
            TimeoutError: the examination takes longer than PROBE_TIMEOUT_S.
        """
        deadline = self._began_at + self._request.timeout_s + _DEATH_GRACE_S
        self._answers.settimeout(max(deadline - time.monotonic(), 0.001))
        return self._answers.recv(size)

    def _receive_answer(self) -> messages.ProbeAnswer:
        """Return the decoder's answer, or the answer that its death stands for."""
        with suppress(OSError, DecodingFailed, msgspec.DecodeError):
            return messages.probe_answer_decoder.decode(read_message(self))
        if not self._is_service_up():
            raise MediaServiceDown
        elapsed_s = time.monotonic() - self._began_at
        _logger.warning("probe_died", elapsed_s=round(elapsed_s, 3))
        return _describe_slowness(self._request) if elapsed_s >= self._request.timeout_s else _GAVE_UP


def create_media_service(settings: SharedSettings) -> MediaService:
    """Return the media service with the limits of the settings."""
    limits = messages.MediaLimits(settings.max_audio_s, settings.decoder_memory_bytes, settings.decoder_cpu_s)
    return MediaService(limits, probe_timeout_s=settings.probe_timeout_s)


def _describe_slowness(request: messages.ProbeUpload) -> messages.Unreadable:
    return messages.Unreadable(
        f"Examining the file took longer than {request.timeout_s:g} s (PROBE_TIMEOUT_S). "
        "Convert it to wav, flac or mp3, or raise that setting."
    )
