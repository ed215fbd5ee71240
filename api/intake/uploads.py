"""Uploads on their way in: audio from a form or a URL, written into the store and examined."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

import httpx
from starlette.concurrency import run_in_threadpool

from api.errors.urls import UrlInputOff
from api.intake.audio_fetch import PARAM as URL_FIELD
from api.intake.audio_fetch import AudioFetcher
from api.intake.multipart import FILE_FIELD, NO_FILE, Piece
from shared.errors import InvalidRequest
from shared.jobs import Upload
from shared.media.client import MediaService
from shared.upload_store import UploadStore, UploadWriter

PROBES_AT_ONCE = 4
"""The number of uploads stored and examined at once. Each takes a process of up to DECODER_MEMORY_BYTES."""

WRITES_AT_ONCE = max(1, (os.cpu_count() or 1) // 2)
"""The number of threads that write and digest uploads. More would leave no core for other requests."""

_BATCH_BYTES = 1 << 20
"""The bytes of a file that are collected before a thread writes them."""

_BATCH_PIECES = 256
"""The limit on the pieces of a batch: each takes memory of its own, however small it is."""

_MAX_STORED_S = 120.0
"""The longest audio whose samples are stored. Decoding more would delay the answer to the upload."""

_DISPLAYED_CHARACTERS = 200

Done = TypeVar("Done")


class IncomingUpload:
    """One file on its way into the store. The file on disk begins with the first write."""

    def __init__(self, store: UploadStore, name: str, writing: asyncio.Semaphore) -> None:
        self._store = store
        self.name = name
        self._writing = writing
        self._writer: UploadWriter | None = None
        self._batch: list[Piece] = []
        self._batch_bytes = 0
        self._is_kept = False
        self.filename = ""
        self.url: httpx.URL | None = None

    @property
    def sha256(self) -> str:
        """Return the digest of the flushed file; empty for a URL, which the form itself identifies."""
        return "" if self.url else self._begun().sha256

    @property
    def param(self) -> str:
        """Return the form field that errors about the audio name."""
        return URL_FIELD if self.url else FILE_FIELD

    def keep(self) -> None:
        """Make later calls of `discard` do nothing, because a job may need the file."""
        self._is_kept = True

    async def write(self, pieces: AsyncGenerator[Piece]) -> None:
        """Append all pieces, in batches that threads write; the last one waits for `flush`. Close `pieces`.

        Raises:
            StorageFull: the disk has no space for the file.
        """
        async with aclosing(pieces):
            async for piece in pieces:
                self._batch.append(piece)
                self._batch_bytes += len(piece)
                if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_PIECES:
                    async with self._writing:
                        await finish_in_thread(self.flush)

    def flush(self) -> UploadWriter:
        """Write the last batch, and return the writer. It blocks.

        Raises:
            StorageFull: the disk has no space for the file.
        """
        writer = self._begun()
        for piece in self._batch:
            writer.write(piece)
        self._batch.clear()
        self._batch_bytes = 0
        return writer

    async def discard(self) -> None:
        """Delete the file, committed or not, unless it is kept."""
        if self._writer is not None and not self._is_kept:
            await run_in_threadpool(self._writer.abort)
            await run_in_threadpool(self._store.delete, self.name)

    def _begun(self) -> UploadWriter:
        if self._writer is None:
            self._writer = self._store.begin(self.name)
        return self._writer


class UploadIntake:
    """The service that takes uploads in. Without a `fetcher`, a URL is refused."""

    def __init__(
        self, store: UploadStore, media: MediaService, fetcher: AudioFetcher | None, *, stored_s: float
    ) -> None:
        """Store the samples of uploads of at most `stored_s` and _MAX_STORED_S for the worker."""
        self._store = store
        self._media = media
        self._fetcher = fetcher
        self._stored_s = min(stored_s, _MAX_STORED_S)
        self._probing = asyncio.Semaphore(PROBES_AT_ONCE)
        self._writing = asyncio.Semaphore(WRITES_AT_ONCE)

    @asynccontextmanager
    async def begin(self, name: str) -> AsyncIterator[IncomingUpload]:
        """Yield the upload `name`. If the block fails, nothing of the file stays."""
        upload = IncomingUpload(self._store, name, self._writing)
        try:
            yield upload
        except BaseException:
            # Shielded, because the request itself may be what is cancelled.
            await asyncio.shield(upload.discard())
            raise

    def choose_source(self, upload: IncomingUpload, *, filename: str | None, url: str | None) -> None:
        """Set the display name and the URL of an upload. `filename` is None in a form without a file.

        Raises:
            InvalidRequest: the form has neither a file nor a URL, or both.
            UrlInputOff: the form has a URL, and this server does not fetch audio.
            UrlRefused: the server sends no request to this URL.
        """
        if url is None:
            if filename is None:
                remedy = f", or its address in a field named `{URL_FIELD}`" if self._fetcher else ""
                raise InvalidRequest(f"{NO_FILE}{remedy}.", param=FILE_FIELD)
            upload.filename = _make_displayable(filename)
            return
        if self._fetcher is None:
            raise UrlInputOff
        if filename is not None:
            raise InvalidRequest("The form has a file and a url. Send one of them.", param=URL_FIELD)
        upload.url = self._fetcher.rule.parse(url)
        # The last part of the path only: a query may be a secret.
        upload.filename = _make_displayable(upload.url.path.rpartition("/")[2])

    async def fetch(self, upload: IncomingUpload, *, max_bytes: int, key_name: str) -> None:
        """Write the audio at the URL of an upload, if it has one.

        Raises:
            UrlRefused, UrlUnreachable, UrlFailed, TooManyFetches: see `AudioFetcher.fetch`.
            UploadTooLarge: the audio has more than `max_bytes`.
            StorageFull: the disk has no space for the file.
        """
        if upload.url and self._fetcher:
            await self._fetcher.fetch(upload.url, upload.write, max_bytes=max_bytes, key_name=key_name)

    async def store(self, upload: IncomingUpload, audio_track: tuple[str, ...] = ()) -> Upload:
        """Make an upload durable, and examine its audio, of the default track or `audio_track`.

        Raises:
            UnreadableAudio: the decoder cannot read the file.
            AudioTooLong: the file has more audio than MAX_AUDIO_S.
            StorageFull: the disk has no space for the file.
            MediaServiceDown: the sandboxed decoder did not start or did not answer.
        """
        async with self._probing:
            return await finish_in_thread(lambda: self._commit_and_examine(upload, audio_track))

    def _commit_and_examine(self, upload: IncomingUpload, audio_track: tuple[str, ...]) -> Upload:
        """Do both at once: the decoder reads the file while this thread waits for the disk."""
        writer = upload.flush()
        with self._media.begin_probe(writer.path, stored_s=self._stored_s, audio_track=audio_track) as probe:
            writer.commit()
            duration_s = probe.receive_duration_s(param=upload.param)
            has_trailing_data = probe.has_trailing_data
            probe.store_samples(self._store.path_of_samples(upload.name), upload_sha256=writer.sha256)
        return Upload(
            upload.name, upload.filename, writer.size_bytes, writer.sha256, duration_s, has_trailing_data
        )


async def finish_in_thread(work: Callable[[], Done]) -> Done:
    """Return the outcome of `work` on a thread, which ends even if this task is cancelled.

    Otherwise its writes could outlive the `discard` that follows a cancel.
    """
    working = asyncio.ensure_future(run_in_threadpool(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.gather(working, return_exceptions=True)
        raise


def _make_displayable(filename: str) -> str:
    return "".join(filter(str.isprintable, filename))[:_DISPLAYED_CHARACTERS]
