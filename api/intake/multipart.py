"""The parser of multipart forms: it keeps text fields and passes the file on in pieces while it arrives."""

from collections import defaultdict
from collections.abc import Collection
from email.message import Message

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from api.errors.tree import UploadTooLarge
from shared.errors import InvalidRequest

FILE_FIELD = "file"
MAX_PARTS = 1_000
MAX_TEXT_BYTES = 64 << 10
MAX_TEXTS_BYTES = 1 << 20
"""The limit of all text fields together."""

MAX_FORM_BYTES = MAX_TEXTS_BYTES + (4 << 20)
"""The limit of all that a form has besides its file: text fields, headers of parts, and dropped parts."""

NO_FILE = "The form has no file. Send the audio in a part named `file`"

LISTS_FIT = "Send a list in one field, such as `keywords=first, second`."

_NOT_A_FORM = (
    "The content type is not multipart/form-data. Send the audio in a part named `file`, for example with "
    "curl -F file=@recording.wav."
)
_NO_BOUNDARY = (
    "The content type multipart/form-data has no boundary. Do not set this header yourself: your HTTP client "
    "sets it, boundary included."
)
_FILE_IS_TEXT = (
    "The field `file` holds text. Send the audio itself, with a file name: in curl, put an @ before the path "
    "(-F file=@recording.wav)."
)

# The types of a file that some programs send without a file name, and the name that it then gets.
_SOUND_TYPES = (b"audio/", b"video/", b"application/octet-stream")
_UNNAMED = b"audio"

Piece = bytes | memoryview
"""Bytes of a file. A view of the received chunk saves a copy."""


class MultipartReader:
    """A reader of one form. Call `feed` with the body as it arrives, then `finish`.

    `fields` are the text fields, each with all its values. `filename` is None until the file has begun.
    Starlette's form parser would write the file twice: to a temporary file, then to the upload store.
    """

    def __init__(
        self,
        content_type: str | None,
        *,
        max_file_bytes: int,
        needs_file: bool = True,
        text_fields: Collection[str] = (),
    ) -> None:
        """Prepare for a form with this content type.

        A part in `text_fields` is read as text even if it has a file name. All other files except `file` are
        dropped.

        Raises:
            InvalidRequest: the content type is not `multipart/form-data` with a boundary.
        """
        self.fields: defaultdict[str, list[str]] = defaultdict(list)
        self.filename: str | None = None
        self.file_bytes = 0
        self._max_file_bytes = max_file_bytes
        self._needs_file = needs_file
        self._text_fields = text_fields
        self._texts_bytes = 0
        self._pieces: list[Piece] = []
        self._parts = 0
        self._has_ended = False
        self._header = (bytearray(), bytearray())
        self._disposition = b""
        self._content_type = b""
        self._name = ""
        self._text: bytearray | None = None
        self._is_file = False
        self._parser = self._create_parser(content_type)

    def feed(self, chunk: bytes) -> list[Piece]:
        """Take a chunk of the body, and return the file's bytes in it.

        Raises:
            InvalidRequest: the form is malformed, has two files, or exceeds a limit.
            UploadTooLarge: the file has more than `max_file_bytes`.
        """
        self._pieces = []
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidRequest(f"The multipart form is malformed: {error}.") from error
        return self._pieces

    def finish(self) -> None:
        """Raise InvalidRequest if the form is incomplete, lacks a file that it needs, or has an empty one."""
        if not self._has_ended:
            raise InvalidRequest("The multipart form is incomplete. Send it again.")
        if self.filename is None and self._needs_file:
            raise InvalidRequest(f"{NO_FILE}.", param=FILE_FIELD)
        if self.filename is not None and not self.file_bytes:
            raise InvalidRequest("The file is empty (0 bytes).", param=FILE_FIELD)

    def _create_parser(self, content_type: str | None) -> MultipartParser:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data":
            raise InvalidRequest(_NOT_A_FORM, param=FILE_FIELD)
        if not options.get(b"boundary"):
            raise InvalidRequest(_NO_BOUNDARY, param=FILE_FIELD)
        try:
            return MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise InvalidRequest(f"The multipart form is malformed: {error}.") from error

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise InvalidRequest(f"The form has more than {MAX_PARTS} fields. {LISTS_FIT}")
        self._disposition = b""
        self._content_type = b""
        self._text = None
        self._is_file = False

    def _on_header_field(self, buffer: bytes, start: int, end: int) -> None:
        self._header[0].extend(buffer[start:end])

    def _on_header_value(self, buffer: bytes, start: int, end: int) -> None:
        self._header[1].extend(buffer[start:end])

    def _on_header_end(self) -> None:
        name, value = self._header
        if name.lower() == b"content-disposition":
            self._disposition = bytes(value)
        elif name.lower() == b"content-type":
            self._content_type = bytes(value)
        self._header = (bytearray(), bytearray())

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = _decode(options.get(b"name", b""))
        filename = options.get(b"filename", _find_extended_filename(self._disposition))
        if self._name == FILE_FIELD:
            if filename is None and self._content_type.lower().startswith(_SOUND_TYPES):
                filename = _UNNAMED
            self._begin_file(filename)
        # Browsers and curl send a text field with a file name if the caller passes it as a file.
        elif filename is None or self._name.partition("[")[0] in self._text_fields:
            self._text = bytearray()

    def _begin_file(self, filename: bytes | None) -> None:
        if filename is None:
            raise InvalidRequest(_FILE_IS_TEXT, param=FILE_FIELD)
        if self.filename is not None:
            raise InvalidRequest(
                "The form has more than one `file`. Send one request per file.", param=FILE_FIELD
            )
        self.filename = _decode(filename)
        self._is_file = True

    def _on_part_data(self, buffer: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._take_file(memoryview(buffer)[start:end])
        elif self._text is not None:
            self._text += buffer[start:end]
            self._texts_bytes += end - start
            self._check_text(self._text)

    def _check_text(self, text: bytearray) -> None:
        name = self._name[:100]
        if len(text) > MAX_TEXT_BYTES:
            raise InvalidRequest(f"{name} is longer than {MAX_TEXT_BYTES} bytes.", param=name)
        if self._texts_bytes > MAX_TEXTS_BYTES:
            raise InvalidRequest(
                f"The text fields have more than {MAX_TEXTS_BYTES} bytes together. Shorten them.",
                param=name,
            )

    def _take_file(self, piece: Piece) -> None:
        self.file_bytes += len(piece)
        if self.file_bytes > self._max_file_bytes:
            raise UploadTooLarge(self._max_file_bytes)
        self._pieces.append(piece)

    def _on_part_end(self) -> None:
        if self._text is not None:
            self.fields[self._name].append(_decode(self._text))

    def _on_end(self) -> None:
        self._has_ended = True


def _find_extended_filename(disposition: bytes) -> bytes | None:
    """Return the `filename*` of RFC 5987, which `parse_options_header` omits."""
    header = Message()
    header["content-disposition"] = disposition.decode("latin-1")
    filename = header.get_filename()
    return None if filename is None else filename.encode("utf-8", "replace")


def _decode(value: bytes | bytearray) -> str:
    return value.decode("utf-8", "replace")
