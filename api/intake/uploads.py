"""Uploads on their way in: audio from a form or a URL, written into the store and examined."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import httpx
from starlette.concurrency import run_in_threadpool

from api.errors.urls import UrlInputOff
from api.intake.audio_fetch import PARAM as URL_FIELD
from api.intake.audio_fetch import AudioFetcher
from api.intake.multipart import FILE_FIELD, NO_FILE
from shared.errors import InvalidRequest
from shared.jobs import Upload
from shared.media.client import MediaService
from shared.upload_store import StoredFile, UploadStore, UploadWriter

PROBES_AT_ONCE = 4
"""The number of uploads examined at once. Each takes a process of up to DECODER_MEMORY_BYTES."""

_BATCH_BYTES = 1 << 20
"""The bytes of a file that are collected before a thread writes them."""

_DISPLAYED_CHARACTERS = 200


class IncomingUpload:
    """One file on its way into the store. The file on disk begins with the first write."""

    def __init__(self, store: UploadStore, name: str) -> None:
        self._store = store
        self._name = name
        self._writer: UploadWriter | None = None
        self._is_kept = False
        self.filename = ""
        self.url: httpx.URL | None = None

    @property
    def sha256(self) -> str:
        """Return the digest of the file; empty for a URL, which the form itself identifies."""
        return "" if self.url else self._begun().sha256

    @property
    def param(self) -> str:
        """Return the form field that errors about the audio name."""
        return URL_FIELD if self.url else FILE_FIELD

    def keep(self) -> None:
        """Make later calls of `discard` do nothing, because a job may need the file."""
        self._is_kept = True

    async def write(self, pieces: AsyncGenerator[bytes]) -> None:
        """Append all pieces, in batches that threads write. Close `pieces` in any case.

        Raises:
            StorageFull: the disk has no space for the file.
        """
        batch = bytearray()
        async with aclosing(pieces):
            async for piece in pieces:
                batch += piece
                if len(batch) >= _BATCH_BYTES:
                    await self._write(bytes(batch))
                    batch.clear()
        if batch:
            await self._write(bytes(batch))

    async def commit(self) -> StoredFile:
        """Make the file durable under its name.

        Raises:
            StorageFull: the disk has no space for the file.
        """
        return await run_in_threadpool(self._begun().commit)

    async def discard(self) -> None:
        """Delete the file, committed or not, unless it is kept."""
        if self._writer is not None and not self._is_kept:
            await run_in_threadpool(self._writer.abort)
            await run_in_threadpool(self._store.delete, self._name)

    async def _write(self, batch: bytes) -> None:
        writing = asyncio.ensure_future(run_in_threadpool(lambda: self._begun().write(batch)))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # The thread goes on. Its write must not outlive the `discard` that follows.
            await asyncio.gather(writing, return_exceptions=True)
            raise

    def _begun(self) -> UploadWriter:
        if self._writer is None:
            self._writer = self._store.begin(self._name)
        return self._writer


class UploadIntake:
    """The service that takes uploads in. Without a `fetcher`, a URL is refused."""

    def __init__(self, store: UploadStore, media: MediaService, fetcher: AudioFetcher | None) -> None:
        self._store = store
        self._media = media
        self._fetcher = fetcher
        self._probing = asyncio.Semaphore(PROBES_AT_ONCE)

    @asynccontextmanager
    async def begin(self, name: str) -> AsyncIterator[IncomingUpload]:
        """Yield the upload `name`. If the block fails, nothing of the file stays."""
        upload = IncomingUpload(self._store, name)
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

    async def store(self, upload: IncomingUpload) -> Upload:
        """Make an upload durable, and examine its audio.

        Raises:
            UnreadableAudio: the decoder cannot read the file.
            AudioTooLong: the file has more audio than MAX_AUDIO_S.
            StorageFull: the disk has no space for the file.
            MediaServiceDown: the sandboxed decoder did not start or did not answer.
        """
        stored = await upload.commit()
        async with self._probing:
            duration_s = await run_in_threadpool(self._media.probe, stored.path, param=upload.param)
        return Upload(stored.name, upload.filename, stored.size_bytes, stored.sha256, duration_s)


def _make_displayable(filename: str) -> str:
    return "".join(filter(str.isprintable, filename))[:_DISPLAYED_CHARACTERS]
