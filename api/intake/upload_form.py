"""Receiving a form: its file goes straight into the upload store while it arrives, written once."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from api.errors.tree import UploadStalled, UploadTooLarge
from api.intake.form_fields import UNSERVED_FIELDS
from api.intake.forms import SpeechForm
from api.intake.incoming_file import IncomingFile, make_displayable, write_pieces
from api.intake.multipart import MAX_FORM_BYTES, FormReader
from api.intake.urlencoded import UrlencodedReader, is_urlencoded
from shared.upload_store import UploadStore

STALL_S = 300.0
"""How long a client may send nothing in the middle; the sweeper leaves what arrives alone for much longer."""

KNOWN_FIELDS = frozenset({*SpeechForm.model_fields, *UNSERVED_FIELDS})
"""The text fields that some endpoint reads, or refuses."""


@dataclass(frozen=True, slots=True)
class ReceivedForm:
    """A form that has arrived in full; its file is written, but not committed. No `filename`: no file."""

    fields: Mapping[str, Sequence[str]]
    filename: str | None
    file: IncomingFile


@dataclass(frozen=True, slots=True)
class FormRule:
    """What forms a request may have: how large their file may be, and whether there must be one."""

    max_upload_bytes: int
    needs_file: bool = True


@asynccontextmanager
async def receive_form(
    request: Request, store: UploadStore, *, name: str, rule: FormRule
) -> AsyncIterator[ReceivedForm]:
    """Receive the form of `request`, its file as the upload `name`; if the block fails nothing of it stays.

    Raises:
        InvalidRequest: the form cannot be served.
        UploadTooLarge: the file has more bytes than it may.
        UploadStalled: nothing more of it came for STALL_S.
        StorageFull: there is no room for it.
        ClientDisconnect: the client left in the middle.
    """
    file = IncomingFile(store, name)
    try:
        yield await _receive(request, file, rule)
    except BaseException:
        # Shielded, since the request itself may be what is cancelled.
        await asyncio.shield(run_in_threadpool(file.discard))
        raise


async def _receive(request: Request, file: IncomingFile, rule: FormRule) -> ReceivedForm:
    reader = _open_reader(request.headers.get("content-type"), rule)
    max_body_bytes = rule.max_upload_bytes + MAX_FORM_BYTES
    if int(request.headers.get("content-length", 0)) > max_body_bytes:
        raise UploadTooLarge(rule.max_upload_bytes)
    await write_pieces(_read_file(request, reader, rule), file)
    reader.finish()
    filename = None if reader.filename is None else make_displayable(reader.filename)
    return ReceivedForm(reader.fields, filename, file)


def _open_reader(content_type: str | None, rule: FormRule) -> FormReader | UrlencodedReader:
    if not rule.needs_file and is_urlencoded(content_type):
        return UrlencodedReader()
    return FormReader(
        content_type,
        max_file_bytes=rule.max_upload_bytes,
        needs_file=rule.needs_file,
        text_fields=KNOWN_FIELDS,
    )


async def _read_file(
    request: Request, reader: FormReader | UrlencodedReader, rule: FormRule
) -> AsyncGenerator[bytes, None]:
    body_bytes = 0
    async for chunk in _read_steadily(request):
        body_bytes += len(chunk)
        if body_bytes > rule.max_upload_bytes + MAX_FORM_BYTES:
            raise UploadTooLarge(rule.max_upload_bytes)
        for piece in reader.feed(chunk):
            yield piece


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
