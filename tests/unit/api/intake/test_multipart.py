"""Multipart forms are parsed independent of the chunks of the body; refusals name the field."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.errors.tree import UploadTooLarge
from api.intake.multipart import MAX_PARTS, MAX_TEXT_BYTES, MultipartReader
from shared.errors import InvalidRequest

CONTENT_TYPE = "multipart/form-data; boundary=x-y"
FILE_BYTES = b"RIFF\r\n--x-\r\n\0\xff" * 20


def part(name: str, value: bytes, filename: str | None = None) -> bytes:
    shown = f'; filename="{filename}"' if filename is not None else ""
    header = f'Content-Disposition: form-data; name="{name}"{shown}\r\n\r\n'
    return b"--x-y\r\n" + header.encode() + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--x-y--\r\n"


def read(
    body: bytes, *, max_file_bytes: int = 1_000_000, chunk_bytes: int = 50
) -> tuple[MultipartReader, bytes]:
    reader = MultipartReader(CONTENT_TYPE, max_file_bytes=max_file_bytes, text_fields=("prompt", "keywords"))
    file = bytearray()
    for start in range(0, len(body), chunk_bytes):
        for piece in reader.feed(body[start : start + chunk_bytes]):
            file += piece
    reader.finish()
    return reader, bytes(file)


@settings(deadline=None)
@given(chunk_bytes=st.integers(1, 600), texts=st.lists(st.text(max_size=40), max_size=5))
def test_the_parts_do_not_depend_on_the_chunks_of_the_body(chunk_bytes: int, texts: list[str]) -> None:
    fields = [part("note", text.encode()) for text in texts]
    reader, file = read(form(*fields, part("file", FILE_BYTES, "a.wav")), chunk_bytes=chunk_bytes)
    assert file == FILE_BYTES
    assert reader.file_bytes == len(FILE_BYTES)
    assert reader.fields.get("note", []) == texts


def test_fields_are_read_before_and_after_the_file() -> None:
    reader, _ = read(form(part("a", b"1"), part("file", b"sound", "ü.wav"), part("a", b"2"), part("b", b"")))
    assert dict(reader.fields) == {"a": ["1", "2"], "b": [""]}
    assert reader.filename == "ü.wav"


@pytest.mark.parametrize("kind", ["audio/ogg", "Audio/WAV", "video/mp4", "application/octet-stream"])
def test_a_part_with_a_type_of_sound_is_a_file_without_a_file_name_too(kind: str) -> None:
    head = f'--x-y\r\nContent-Disposition: form-data; name="file"\r\nContent-Type: {kind}\r\n\r\n'

    reader, file = read(form(head.encode() + FILE_BYTES + b"\r\n", part("prompt", b"words")))

    assert (file, reader.filename, reader.fields["prompt"]) == (FILE_BYTES, "audio", ["words"])


def test_a_part_with_a_type_of_text_and_no_file_name_is_no_file() -> None:
    head = b'--x-y\r\nContent-Disposition: form-data; name="file"\r\nContent-Type: text/plain\r\n\r\n'

    with pytest.raises(InvalidRequest, match="holds text"):
        read(form(head + b"text\r\n"))


def test_a_file_in_an_unknown_field_is_dropped() -> None:
    reader, file = read(form(part("cover", b"picture", "a.png"), part("file", b"sound", "a.wav")))
    assert file == b"sound"
    assert not reader.fields


def test_a_text_field_that_comes_as_a_file_is_read_as_text() -> None:
    reader, file = read(
        form(
            part("prompt", "Frühling".encode(), "prompt.txt"),
            part("keywords[]", b"Qwen", "blob"),
            part("file", b"sound", "a.wav"),
        )
    )
    assert file == b"sound"
    assert dict(reader.fields) == {"prompt": ["Frühling"], "keywords[]": ["Qwen"]}


def test_a_file_with_only_an_extended_filename_is_read() -> None:
    head = b"--x-y\r\nContent-Disposition: form-data; name=\"file\"; filename*=UTF-8''na%C3%AFve.wav\r\n\r\n"
    reader, file = read(head + b"sound\r\n--x-y--\r\n")
    assert file == b"sound"
    assert reader.filename == "naïve.wav"


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        (form(part("file", b"text")), "file", "holds text"),
        (form(part("language", b"en")), "file", "no file"),
        (form(part("file", b"", "a.wav")), "file", "empty"),
        (form(part("file", b"1", "a"), part("file", b"2", "b")), "file", "more than one"),
        (form(part("note", b"x" * (MAX_TEXT_BYTES + 1))), "note", "longer than"),
        (form(*[part("note", b"x")] * (MAX_PARTS + 1)), None, "more than 1000 fields. Send a list"),
        (form(*[part("note", b"x" * MAX_TEXT_BYTES)] * 17), "note", "more than 1048576 bytes together"),
        (part("file", b"sound", "a.wav"), None, "is incomplete"),
        (b"--x-y\r\nno header at all", None, "malformed"),
        (b"not a form", None, "malformed"),
        (b"", None, "is incomplete"),
    ],
)
def test_an_invalid_form_is_refused(body: bytes, param: str | None, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as refusal:
        read(body, chunk_bytes=5_000)
    assert refusal.value.param == param


@pytest.mark.parametrize(
    "content_type",
    [None, "", "application/json", "multipart/form-data", "multipart/mixed; boundary=x", "audio/wav"],
)
def test_a_body_that_is_not_a_form_is_refused(content_type: str | None) -> None:
    with pytest.raises(InvalidRequest, match="multipart/form-data") as refusal:
        MultipartReader(content_type, max_file_bytes=10)
    assert refusal.value.param == "file"


def test_a_boundary_longer_than_any_client_uses_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="malformed"):
        MultipartReader(f"multipart/form-data; boundary={'x' * 1000}", max_file_bytes=10)


def test_only_the_bytes_of_the_file_count() -> None:
    body = form(part("note", b"x" * 100), part("file", b"0123456789", "a.wav"))
    assert read(body, max_file_bytes=10)[1] == b"0123456789"
    with pytest.raises(UploadTooLarge, match="MAX_UPLOAD_BYTES"):
        read(body, max_file_bytes=9)
