"""The sandboxed decoder: a forked process that limits itself, probes or decodes one upload, and ends."""

import math
import os
import resource
import signal
import sys
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO, NoReturn

import msgspec
import structlog

from shared.audio_format import SeekPoint
from shared.errors import AudioTooLong, UnreadableAudio
from shared.jobs import Failure, FailureCode
from shared.media import messages
from shared.media.decode import DeclaredDurationExceeded, decode_audio
from shared.media.joined_files import split_joined
from shared.media.pcm_frames import PcmWriter, write_message
from shared.media.probe import probe_audio

_LOG_FD = 1
_LIBRARY_OUTPUT_FD = 2
# The fork server has its socket, its log and the descriptors of one request: far fewer than this number.
_FD_END = 64
# The share of the probe's time that may go into counting packets. For a long file on a slow disk, accepting
# the declared duration is better than refusing the file.
_COUNTING_SHARE = 0.5
_OUT_OF_MEMORY = (
    "Decoding this file needs more memory than DECODER_MEMORY_BYTES allows. "
    "Convert it to wav, flac or mp3, or raise that setting."
)

_logger = structlog.get_logger(__name__)


def prepare(limits: messages.MediaLimits) -> None:
    """Limit this process for good, as far as it can be done before its request.

    It can write to pipes, sockets and terminals only; log lines to a plain file are lost. It can start
    nothing, unless it is root. The memory limit counts from the current size; allocations beyond it fail.
    macOS accepts the memory limit but does not enforce it.
    """
    _silence_libraries()
    _limit_memory(limits.memory_bytes)
    _set_limit(resource.RLIMIT_FSIZE, 0)
    _set_limit(resource.RLIMIT_CORE, 0)
    _set_limit(resource.RLIMIT_NPROC, 0)


def serve_request(
    request: messages.DecoderRequest, limits: messages.MediaLimits, *, upload_fd: int, answer_fd: int
) -> NoReturn:
    """Serve `request` in this prepared process and end it, with 0 if the answer was written, else with 1."""
    status = 1
    try:
        timeout_s = request.timeout_s if isinstance(request, messages.ProbeUpload) else None
        kept_fds = (_LOG_FD, _LIBRARY_OUTPUT_FD, upload_fd, answer_fd)
        close_off(kept_fds, cpu_s=limits.cpu_s, timeout_s=timeout_s)
        with open(upload_fd, "rb", buffering=0) as upload, open(answer_fd, "wb") as answer:
            answer_request(request, limits, upload, answer)
        status = 0
    except BrokenPipeError:
        pass  # the reader has gone and needs no answer
    except Exception:  # border of the process: the parent sees a decoder that died without an answer
        _logger.exception("sandboxed_decoder_failed")
    finally:
        os._exit(status)


def close_off(kept_fds: Collection[int], *, cpu_s: float, timeout_s: float | None) -> None:
    """Complete the sandbox: the process has only `kept_fds`, and can open and connect to nothing.

    The kernel kills it after `cpu_s` of CPU time and, if given, `timeout_s` of wall clock time.
    """
    _close_all_but(kept_fds)
    # A playlist or container cannot make it open another file. Open descriptors stay usable.
    _set_limit(resource.RLIMIT_NOFILE, 0)
    _set_limit(resource.RLIMIT_CPU, math.ceil(cpu_s))
    if timeout_s is not None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, timeout_s)


def _silence_libraries() -> None:
    """Keep warnings of libmpg123 about an upload out of the log, which uses another descriptor."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), _LIBRARY_OUTPUT_FD)


def _limit_memory(memory_bytes: int) -> None:
    if sys.platform == "linux":
        # Most of the address space of the preloaded libraries is never touched.
        pages = int(Path("/proc/self/statm").read_bytes().split()[0])
        _set_limit(resource.RLIMIT_AS, pages * resource.getpagesize() + memory_bytes)
    else:
        _set_limit(resource.RLIMIT_DATA, memory_bytes)


def _close_all_but(kept_fds: Collection[int]) -> None:
    begin = 0
    for fd in sorted(kept_fds):
        os.closerange(begin, fd)
        begin = fd + 1
    os.closerange(begin, _FD_END)


def _set_limit(which: int, value: int) -> None:
    _, highest = resource.getrlimit(which)
    if highest != resource.RLIM_INFINITY:
        value = min(value, highest)
    resource.setrlimit(which, (value, value))


def answer_request(
    request: messages.DecoderRequest, limits: messages.MediaLimits, upload: BinaryIO, answer: BinaryIO
) -> None:
    """Write what `request` asks for to `answer`."""
    match request:
        case messages.ProbeUpload():
            found = _probe(request, limits, upload)
            write_message(answer, msgspec.json.encode(found))
            if isinstance(found, messages.Probed) and found.duration_s <= request.stored_s:
                decoding = messages.DecodeUpload(found.duration_s, audio_track=request.audio_track)
                _decode(decoding, limits, upload, PcmWriter(answer))
        case messages.DecodeUpload():
            _decode(request, limits, upload, PcmWriter(answer))


def _probe(
    request: messages.ProbeUpload, limits: messages.MediaLimits, upload: BinaryIO
) -> messages.ProbeAnswer:
    try:
        patience_s = request.timeout_s * _COUNTING_SHARE
        duration_s = probe_audio(
            upload,
            max_audio_s=limits.max_audio_s,
            patience_s=patience_s,
            audio_track=request.audio_track,
        )
        return messages.Probed(duration_s, split_joined(upload).has_more)
    except UnreadableAudio as error:
        return messages.Unreadable(error.message, error.param or "file")
    except AudioTooLong:
        return messages.TooLong()
    except MemoryError:
        return messages.Unreadable(_OUT_OF_MEMORY)


def _decode(
    request: messages.DecodeUpload, limits: messages.MediaLimits, upload: BinaryIO, pcm: PcmWriter
) -> None:
    try:
        for found in decode_audio(
            upload,
            max_audio_s=limits.max_audio_s,
            declared_duration_s=request.declared_duration_s,
            start=request.start,
            audio_track=request.audio_track,
        ):
            if isinstance(found, SeekPoint):
                pcm.write_seek_point(found)
            else:
                pcm.write(found)
        pcm.end()
    except UnreadableAudio as error:
        pcm.fail(Failure(FailureCode.AUDIO_UNDECODABLE, error.message))
    except (AudioTooLong, DeclaredDurationExceeded) as error:
        pcm.fail(Failure(FailureCode.AUDIO_TOO_LONG, str(error)))
    except MemoryError:
        pcm.fail(Failure(FailureCode.AUDIO_UNDECODABLE, _OUT_OF_MEMORY))
