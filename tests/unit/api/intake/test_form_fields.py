"""The parsing of the fields of a job: metadata and addresses."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors.urls import UrlRefused
from api.intake.form_fields import MAX_METADATA_BYTES, MAX_METADATA_DEPTH, parse_form
from api.intake.forms import JobForm, SpeechForm
from api.outbound.urls import UrlRule
from shared.errors import InvalidRequest

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def parse(**fields: str) -> SpeechForm:
    return parse_form(JobForm, {name: [value] for name, value in fields.items()})


def refuse(**fields: str) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refusal:
        parse(**fields)
    return refusal.value


def nest(depth: int) -> str:
    return '{"a":' * (depth - 1) + "{}" + "}" * (depth - 1)


def test_all_fields_of_a_job_are_optional() -> None:
    form = parse()
    assert (form.metadata, form.webhook_url, form.url, form.priority) == (None, None, None, "batch")


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_metadata_keeps_its_values(metadata: dict[str, Any]) -> None:
    text = json.dumps(metadata, ensure_ascii=False)
    if len(text.encode()) <= MAX_METADATA_BYTES:
        assert parse(metadata=text).metadata == metadata


@pytest.mark.parametrize(
    "text",
    [
        "[1]", '"a"', "17", "null", "{", "{a: 1}", '{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}',
        nest(MAX_METADATA_DEPTH + 1), nest(700), json.dumps({"a": "x" * MAX_METADATA_BYTES}),
        json.dumps({"a": "é" * (MAX_METADATA_BYTES // 2)}, ensure_ascii=False),
    ],
)  # fmt: skip
def test_metadata_that_is_not_a_small_object_is_refused(text: str) -> None:
    assert refuse(metadata=text).param == "metadata"


def test_metadata_at_the_limits_is_accepted() -> None:
    longest = json.dumps({"a": "x" * (MAX_METADATA_BYTES - len('{"a": ""}'))})
    assert len(longest) == MAX_METADATA_BYTES
    assert parse(metadata=longest).metadata == json.loads(longest)
    assert parse(metadata=nest(MAX_METADATA_DEPTH)).metadata == json.loads(nest(MAX_METADATA_DEPTH))


@pytest.mark.parametrize("name", ["webhook_url", "url"])
@pytest.mark.parametrize(
    "address", ["https://example.com/a?b=c", "http://127.0.0.1:8080", "http://[::1]/x", "https://u:p@a.b"]
)
def test_a_valid_address_is_accepted_unchanged(name: str, address: str) -> None:
    assert getattr(parse(**{name: address}), name) == address


@pytest.mark.parametrize(
    "address",
    [
        "example.com", "ftp://example.com/a", "file:///etc/passwd", "http://#a", "http:///a", "https://a b",
        "http://a:99999", "http://a:x", "http://[::1", "http://a\n.com", "http://a/" + "x" * 8_192,
    ],
)  # fmt: skip
def test_an_invalid_address_is_refused_and_not_shown(address: str) -> None:
    refusal = refuse(webhook_url=address)
    assert refusal.param == "webhook_url"
    assert address not in refusal.message
    with pytest.raises(UrlRefused) as url_refusal:
        UrlRule(allow_private=True, param="url").parse(parse(url=address).url or "")
    assert address not in url_refusal.value.message
