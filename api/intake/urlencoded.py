"""A form without a file as `application/x-www-form-urlencoded`, which browsers and curl send by default."""

from collections import defaultdict
from urllib.parse import parse_qsl

from python_multipart.multipart import parse_options_header

from api.intake.multipart import LISTS_FIT, MAX_PARTS, MAX_TEXT_BYTES
from shared.errors import InvalidRequest

_MAX_BODY_BYTES = 4 * MAX_TEXT_BYTES


def is_urlencoded(content_type: str | None) -> bool:
    """Whether a body of this content type is such a form."""
    return parse_options_header(content_type)[0] == b"application/x-www-form-urlencoded"


class UrlencodedReader:
    """Reads one form, as `FormReader` does; there is never a file in it."""

    filename: None = None

    def __init__(self) -> None:
        self.fields: defaultdict[str, list[str]] = defaultdict(list)
        self._body = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """Read on; there is nothing of a file.

        Raises:
            InvalidRequest: the form is too long.
        """
        self._body += chunk
        if len(self._body) > _MAX_BODY_BYTES:
            raise InvalidRequest(
                f"The form is longer than {_MAX_BODY_BYTES} bytes: send it as multipart/form-data."
            )
        return []

    def finish(self) -> None:
        """Take the whole form apart.

        Raises:
            InvalidRequest: it has too many fields, or one that is too long.
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
