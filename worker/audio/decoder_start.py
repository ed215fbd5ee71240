"""The start of a job's decoder, repeated while the machine has no room for another process."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from shared.errors import MediaServiceDown
from shared.jobs import Claim
from shared.media.client import MediaService
from shared.upload_store import UploadStore

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DecoderStarter:
    """Starts decoders. Waits up to `patience_s` for room: another job of this worker would find no more."""

    media: MediaService
    uploads: UploadStore
    patience_s: float = 10.0
    retry_s: float = 0.5

    def start(self, claim: Claim, pipe_fd: int, *, may_wait: Callable[[], bool]) -> None:
        """Let a decoder write the audio after the claim's checkpoint into a pipe; see `decode_into`.

        Raises:
            MediaServiceDown: there was no room for `patience_s`, or until `may_wait` returned false.
            FileNotFoundError: the upload is gone.
        """
        path = self.uploads.path_of(claim.upload.name)
        declared_duration_s, start_sample = claim.upload.duration_s, claim.checkpoint.resume_sample
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                return self.media.decode_into(
                    path, pipe_fd, declared_duration_s=declared_duration_s, start_sample=start_sample
                )
            except MediaServiceDown:
                if time.monotonic() > deadline or not may_wait():
                    raise
                _logger.warning("decoder_awaited", job_id=claim.job_id)
                time.sleep(self.retry_s)
