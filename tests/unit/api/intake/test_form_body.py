"""Urlencoded forms are parsed within limits, independent of the chunks of the body."""

import pytest

from api.intake.form_body import UrlencodedReader, is_urlencoded
from api.intake.multipart import MAX_PARTS, MAX_TEXT_BYTES
from shared.errors import InvalidRequest


def read(body: bytes, *, chunk_bytes: int = 1 << 20) -> dict[str, list[str]]:
    reader = UrlencodedReader()
    for start in range(0, len(body), chunk_bytes):
        assert reader.feed(body[start : start + chunk_bytes]) == []
    reader.finish()
    assert reader.filename is None
    return dict(reader.fields)


@pytest.mark.parametrize("chunk_bytes", [1, 2, 5, 1_000])
def test_fields_do_not_depend_on_the_chunks_of_the_body(chunk_bytes: int) -> None:
    body = b"url=https%3A%2F%2Fexample.com%2F%C3%BC.wav%3Fa%3Db&prompt=two+words&language=&k=1&k=2"

    assert read(body, chunk_bytes=chunk_bytes) == {
        "url": ["https://example.com/ü.wav?a=b"],
        "prompt": ["two words"],
        "language": [""],
        "k": ["1", "2"],
    }


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert read(b"a=%ff&\xff=b&c") == {"a": ["�"], "�": ["b"], "c": [""]}


@pytest.mark.parametrize(
    "body",
    [
        b"&".join([b"a=b"] * (MAX_PARTS + 1)),
        b"prompt=" + b"a" * (MAX_TEXT_BYTES + 1),
        b"a=b&" * MAX_TEXT_BYTES * 2,
    ],
    ids=["many fields", "a long field", "a long body"],
)
def test_a_form_beyond_the_limits_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read(body)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/x-www-form-urlencoded", True),
        ("application/x-www-form-urlencoded; charset=utf-8", True),
        ("Application/X-WWW-Form-Urlencoded", True),
        ("multipart/form-data; boundary=x", False),
        (None, False),
    ],
)
def test_the_content_type_is_recognised(content_type: str | None, *, expected: bool) -> None:
    assert is_urlencoded(content_type) is expected
