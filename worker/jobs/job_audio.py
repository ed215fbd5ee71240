"""The audio of a job on its way to the model process: stored samples, or else a sandboxed decoder."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from shared.errors import MediaServiceDown
from shared.jobs import Claim
from shared.media.client import MediaService
from shared.media.stored_samples import open_samples
from shared.upload_store import UploadStore
from worker.jobs.stop_rules import StopRules

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OpenAudio:
    """The descriptor of a decoder's pipe, or of stored samples at the place where the job begins."""

    descriptor: int
    has_stored_samples: bool


@dataclass(frozen=True, slots=True)
class AudioOpener:
    """The opener of every job's audio in a worker. This process never reads the pipe of a decoder.

    A job waits `patience_s` for a decoder if no process can be forked, since another job of this worker
    would find no more room.
    """

    media: MediaService
    uploads: UploadStore
    patience_s: float = 10.0
    retry_s: float = 0.5

    @contextmanager
    def open(self, claim: Claim, rules: StopRules) -> Iterator[OpenAudio]:
        """Open the audio of `claim` from its checkpoint on, for the length of the block.

        Raises:
            FileNotFoundError: the upload does not exist.
            MediaServiceDown: no decoder could be forked, or the rules stopped the wait for it.
        """
        path = self.uploads.path_of_samples(claim.upload.name)
        start_sample = claim.checkpoint.audio_start.sample
        samples = open_samples(path, upload_sha256=claim.upload.sha256, start_sample=start_sample)
        if samples is None:
            with self._start_decoder(claim, rules) as pipe:
                yield OpenAudio(pipe, has_stored_samples=False)
            return
        try:
            yield OpenAudio(samples, has_stored_samples=True)
        finally:
            os.close(samples)

    def delete_samples(self, claim: Claim) -> None:
        """Free the disk at the end of a job."""
        try:
            self.uploads.delete_samples(claim.upload.name)
        except OSError as error:  # they are deleted with the upload
            _logger.warning("samples_not_deleted", job_id=claim.job_id, reason=repr(error))

    @contextmanager
    def _start_decoder(self, claim: Claim, rules: StopRules) -> Iterator[int]:
        reading, writing = os.pipe()
        try:
            self._decode_into(writing, claim, rules)
            yield reading
        finally:
            os.close(reading)
            os.close(writing)

    def _decode_into(self, pipe_fd: int, claim: Claim, rules: StopRules) -> None:
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                return self.media.decode_into(
                    self.uploads.path_of(claim.upload.name),
                    pipe_fd,
                    declared_duration_s=claim.upload.duration_s,
                    start=claim.checkpoint.audio_start,
                    audio_track=claim.request.audio_track,
                )
            except MediaServiceDown:
                if time.monotonic() > deadline or rules.find_reason() is not None:
                    raise
                _logger.warning("decoder_awaited", job_id=claim.job_id)
                time.sleep(self.retry_s)
