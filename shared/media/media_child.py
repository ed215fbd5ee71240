"""The life of a forked child: confine itself, probe or decode one upload, end."""

import os
from typing import BinaryIO, NoReturn

import structlog

from shared.errors import AudioTooLong, UnreadableAudio
from shared.jobs import Failure, FailureCode
from shared.media.confinement import confine_process
from shared.media.decode import MoreThanTold, decode_audio
from shared.media.messages import (
    ChildRequest,
    DecodeUpload,
    ProbeAnswer,
    Probed,
    ProbeUpload,
    TooLong,
    Unreadable,
    encode_message,
)
from shared.media.pcm_frames import PcmWriter
from shared.media.probe import probe_audio

_LOG_FD = 1
_CHATTER_FD = 2
# Of the time for a probe; a long file on a slow disk is better believed than refused.
_COUNTING_SHARE = 0.5
_OUT_OF_MEMORY = (
    "Decoding this file needs more memory than DECODER_MEMORY_BYTES allows: "
    "convert it to wav, flac or mp3, or raise that setting."
)

_logger = structlog.get_logger(__name__)


def serve_request(request: ChildRequest, *, upload_fd: int, answer_fd: int) -> NoReturn:
    """Serve `request` in this process and end it: with 0 if the answer was written, else with 1."""
    status = 1
    try:
        _silence_libraries()
        kept_fds = (_LOG_FD, _CHATTER_FD, upload_fd, answer_fd)
        timeout_s = request.timeout_s if isinstance(request, ProbeUpload) else None
        confine_process(request.limits, kept_fds=kept_fds, timeout_s=timeout_s)
        with open(upload_fd, "rb", buffering=0) as upload, open(answer_fd, "wb") as answer:
            _answer(request, upload, answer)
        status = 0
    except BrokenPipeError:
        pass  # nobody wants the answer any more
    except Exception:  # border of the process: the parent sees a child that died without a word
        _logger.exception("media_child_failed")
    finally:
        os._exit(status)


def _silence_libraries() -> None:
    """Keep libmpg123 from telling the log what it finds odd in an upload; our own lines go elsewhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), _CHATTER_FD)


def _answer(request: ChildRequest, upload: BinaryIO, answer: BinaryIO) -> None:
    match request:
        case ProbeUpload():
            answer.write(encode_message(_probe(request, upload)))
        case DecodeUpload():
            _decode(request, upload, PcmWriter(answer))


def _probe(request: ProbeUpload, upload: BinaryIO) -> ProbeAnswer:
    try:
        patience_s = request.timeout_s * _COUNTING_SHARE
        return Probed(probe_audio(upload, max_audio_s=request.limits.max_audio_s, patience_s=patience_s))
    except UnreadableAudio as error:
        return Unreadable(error.message)
    except AudioTooLong:
        return TooLong()
    except MemoryError:
        return Unreadable(_OUT_OF_MEMORY)


def _decode(request: DecodeUpload, upload: BinaryIO, pcm: PcmWriter) -> None:
    try:
        limit_s = request.limits.max_audio_s
        for block in decode_audio(
            upload,
            max_audio_s=limit_s,
            declared_duration_s=request.declared_duration_s,
            start_sample=request.start_sample,
        ):
            pcm.write(block)
        pcm.end()
    except UnreadableAudio as error:
        pcm.fail(Failure(FailureCode.AUDIO_UNDECODABLE, error.message))
    except AudioTooLong as error:
        pcm.fail(Failure(FailureCode.AUDIO_TOO_LONG, error.message))
    except MoreThanTold as error:
        pcm.fail(Failure(FailureCode.AUDIO_TOO_LONG, str(error)))
    except MemoryError:
        pcm.fail(Failure(FailureCode.AUDIO_UNDECODABLE, _OUT_OF_MEMORY))
