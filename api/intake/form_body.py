"""The form in the body of a request, read while it arrives: multipart or urlencoded."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from urllib.parse import parse_qsl

from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from api.errors.tree import UploadStalled, UploadTooLarge
from api.intake.form_fields import UNSERVED_FIELDS
from api.intake.forms import SpeechForm
from api.intake.multipart import LISTS_FIT, MAX_FORM_BYTES, MAX_PARTS, MAX_TEXT_BYTES, MultipartReader, Piece
from shared.errors import InvalidRequest

STALL_S = 300.0
"""The longest silence of a client during an upload. The sweeper spares unfinished files for longer."""

_TEXT_FIELDS = frozenset({*SpeechForm.model_fields, *UNSERVED_FIELDS})
"""The text fields that an endpoint reads or refuses."""

_MAX_URLENCODED_BYTES = 4 * MAX_TEXT_BYTES


class FormBody:
    """The form of one request. `fields` has the text fields read so far; `filename` is None without a file.

    Call `read_head` first, then `read_file`. Both raise:
        InvalidRequest: the form is malformed, exceeds a limit, or lacks a file that it needs.
        UploadTooLarge: the file has more than `max_file_bytes`.
        UploadStalled: the client sent nothing for STALL_S.
        ClientDisconnect: the client disconnected in the middle.
    """

    def __init__(self, request: Request, *, max_file_bytes: int, needs_file: bool) -> None:
        """Choose the reader for the content type. Only a form that needs no file may be urlencoded.

        Raises:
            InvalidRequest: the content type is not that of a form.
            UploadTooLarge: the declared length of the body exceeds what a form may have.
        """
        content_type = request.headers.get("content-type")
        self._reader = (
            UrlencodedReader()
            if not needs_file and is_urlencoded(content_type)
            else MultipartReader(
                content_type, max_file_bytes=max_file_bytes, needs_file=needs_file, text_fields=_TEXT_FIELDS
            )
        )
        self._chunks = aiter(request.stream())
        self._max_file_bytes = max_file_bytes
        self._body_bytes = 0
        self._pieces: list[Piece] = []
        self._check_size(int(request.headers.get("content-length", 0)))

    @property
    def fields(self) -> Mapping[str, Sequence[str]]:
        """Return the text fields read so far, each with all its values."""
        return self._reader.fields

    @property
    def filename(self) -> str | None:
        """Return the name of the file, or None before it has begun and in a form without a file."""
        return self._reader.filename

    async def read_head(self) -> None:
        """Read up to the start of the file, or to the end of a form without one."""
        while self.filename is None and (pieces := await self._read_pieces()) is not None:
            self._pieces += pieces

    async def read_file(self) -> AsyncGenerator[Piece]:
        """Yield the bytes of the file, and read to the end of the form."""
        for piece in self._pieces:
            yield piece
        while (pieces := await self._read_pieces()) is not None:
            for piece in pieces:
                yield piece
        self._reader.finish()

    async def _read_pieces(self) -> list[Piece] | None:
        """Return the file's bytes in the next chunk of the body, or None at its end."""
        try:
            async with asyncio.timeout(STALL_S):
                chunk = await anext(self._chunks)
        except StopAsyncIteration:
            return None
        except TimeoutError as error:
            raise UploadStalled(STALL_S) from error
        self._body_bytes += len(chunk)
        self._check_size(self._body_bytes)
        return self._reader.feed(chunk)

    def _check_size(self, body_bytes: int) -> None:
        if body_bytes > self._max_file_bytes + MAX_FORM_BYTES:
            raise UploadTooLarge(self._max_file_bytes)


def is_urlencoded(content_type: str | None) -> bool:
    """Return whether the content type is `application/x-www-form-urlencoded`, curl's default for `-d`."""
    return parse_options_header(content_type)[0] == b"application/x-www-form-urlencoded"


class UrlencodedReader:
    """A reader of one urlencoded form, with the interface of `MultipartReader`. It never has a file."""

    filename: None = None

    def __init__(self) -> None:
        self.fields: defaultdict[str, list[str]] = defaultdict(list)
        self._body = bytearray()

    def feed(self, chunk: bytes) -> list[Piece]:
        """Take a chunk of the body, and return no bytes of a file.

        Raises:
            InvalidRequest: the form has too many bytes.
        """
        self._body += chunk
        if len(self._body) > _MAX_URLENCODED_BYTES:
            raise InvalidRequest(
                f"The form is longer than {_MAX_URLENCODED_BYTES} bytes. Send it as multipart/form-data."
            )
        return []

    def finish(self) -> None:
        """Parse the whole form.

        Raises:
            InvalidRequest: the form has too many fields, or a field that is too long.
        """
        try:
            pairs = parse_qsl(
                self._body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_PARTS
            )
        except ValueError as error:
            raise InvalidRequest(f"The form has more than {MAX_PARTS} fields. {LISTS_FIT}") from error
        for name, value in pairs:
            if len(value.encode(errors="replace")) > MAX_TEXT_BYTES:
                raise InvalidRequest(f"{name[:100]} is longer than {MAX_TEXT_BYTES} bytes.", param=name[:100])
            self.fields[name].append(value)
