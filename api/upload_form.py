"""Receiving a form: its file goes straight into the upload store while it arrives, written once."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from api.multipart import MAX_FORM_BYTES, FormReader
from shared.errors import UploadStalled, UploadTooLarge
from shared.upload_store import StoredFile, UploadStore, UploadWriter

_BATCH_BYTES = 1 << 20
"""How much of the file is collected before a thread is asked to write it."""

STALL_S = 300.0
"""How long a client may send nothing in the middle; the sweeper leaves what arrives alone for much longer."""

_DISPLAYED_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class ReceivedForm:
    """A form that has arrived in full; its file is written, but not committed."""

    fields: Mapping[str, Sequence[str]]
    filename: str
    file: "IncomingFile"


class IncomingFile:
    """The file of a form on its way into the store. Its methods block: they are for threads."""

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


@asynccontextmanager
async def receive_form(
    request: Request, store: UploadStore, *, name: str, max_upload_bytes: int
) -> AsyncIterator[ReceivedForm]:
    """Receive the form of `request`, its file as the upload `name`; if the block fails nothing of it stays.

    Raises:
        InvalidRequest: the form cannot be served.
        UploadTooLarge: the file has more than `max_upload_bytes`.
        UploadStalled: nothing more of it came for STALL_S.
        StorageFull: there is no room for it.
        ClientDisconnect: the client left in the middle.
    """
    file = IncomingFile(store, name)
    try:
        yield await _receive(request, file, max_upload_bytes)
    except BaseException:
        # Shielded, since the request itself may be what is cancelled.
        await asyncio.shield(run_in_threadpool(file.discard))
        raise


async def _receive(request: Request, file: IncomingFile, max_upload_bytes: int) -> ReceivedForm:
    reader = FormReader(request.headers.get("content-type"), max_file_bytes=max_upload_bytes)
    max_body_bytes = max_upload_bytes + MAX_FORM_BYTES
    if int(request.headers.get("content-length", 0)) > max_body_bytes:
        raise UploadTooLarge(max_upload_bytes)
    batch = bytearray()
    body_bytes = 0
    async for chunk in _read_steadily(request):
        body_bytes += len(chunk)
        if body_bytes > max_body_bytes:
            raise UploadTooLarge(max_upload_bytes)
        for piece in reader.feed(chunk):
            batch += piece
        if len(batch) >= _BATCH_BYTES:
            await run_in_threadpool(file.write, bytes(batch))
            batch.clear()
    reader.finish()
    if batch:
        await run_in_threadpool(file.write, bytes(batch))
    return ReceivedForm(reader.fields, _displayable(reader.filename or ""), file)


async def _read_steadily(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes; a client that falls silent would keep a file open for ever."""
    chunks = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(STALL_S):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise UploadStalled(STALL_S) from error
        yield chunk


def _displayable(filename: str) -> str:
    return "".join(filter(str.isprintable, filename))[:_DISPLAYED_CHARACTERS]
