"""A file on its way into the upload store, from a form or from a URL."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.concurrency import run_in_threadpool

from shared.upload_store import StoredFile, UploadStore, UploadWriter

_BATCH_BYTES = 1 << 20
"""How much of the file is collected before a thread is asked to write it."""

_DISPLAYED_CHARACTERS = 200


class IncomingFile:
    """A file on its way into the store. Its methods block: they are for threads."""

    def __init__(self, store: UploadStore, name: str) -> None:
        self._store = store
        self._name = name
        self._writer: UploadWriter | None = None
        self._is_kept = False

    @property
    def sha256(self) -> str:
        """The digest of the file, all of which has been written."""
        return self._begun().sha256

    def keep(self) -> None:
        """Let no later `discard` touch the file: a job may need it."""
        self._is_kept = True

    def write(self, batch: bytes) -> None:
        """Append to the file, which is begun by the first batch.

        Raises:
            StorageFull: there is no room for it.
        """
        self._begun().write(batch)

    def commit(self) -> StoredFile:
        """Make the file durable under its name.

        Raises:
            StorageFull: there is no room for it.
        """
        return self._begun().commit()

    def discard(self) -> None:
        """Leave nothing of the file, committed or not, unless it is to be kept."""
        if self._writer is not None and not self._is_kept:
            self._writer.abort()
            self._store.delete(self._name)

    def _begun(self) -> UploadWriter:
        if self._writer is None:
            self._writer = self._store.begin(self._name)
        return self._writer


async def write_pieces(pieces: AsyncGenerator[bytes, None], file: IncomingFile) -> None:
    """Append all pieces to the file, by threads and in batches; whatever happens, `pieces` are closed.

    Raises:
        StorageFull: there is no room for it.
    """
    batch = bytearray()
    async with aclosing(pieces):
        async for piece in pieces:
            batch += piece
            if len(batch) >= _BATCH_BYTES:
                await _write(file, bytes(batch))
                batch.clear()
    if batch:
        await _write(file, bytes(batch))


async def _write(file: IncomingFile, batch: bytes) -> None:
    writing = asyncio.ensure_future(run_in_threadpool(file.write, batch))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        # The thread goes on; what it writes must not outlive the `discard` that follows.
        await asyncio.gather(writing, return_exceptions=True)
        raise


def make_displayable(filename: str) -> str:
    """A file name as clients are shown it."""
    return "".join(filter(str.isprintable, filename))[:_DISPLAYED_CHARACTERS]
