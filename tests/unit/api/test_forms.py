"""Text fields become forms; an empty one counts as absent, and a wrong one is named."""

import pytest

from api.forms import JobForm, SpeechForm, TranscriptionForm, describe_form, parse_form
from shared.errors import InvalidRequest


def test_a_form_without_fields_has_the_defaults() -> None:
    form = parse_form(TranscriptionForm, {})
    assert (form.language, form.response_format, form.return_timestamps) == ("auto", "json", False)
    assert (form.model, form.prompt) == ("", "")


def test_empty_fields_count_as_absent_and_unknown_ones_are_ignored() -> None:
    fields = {"language": [""], "prompt": ["  "], "response_format": [""], "vad_filter": ["true"]}
    assert parse_form(TranscriptionForm, fields) == parse_form(TranscriptionForm, {})


@pytest.mark.parametrize("text", ["true", "True", "1", "yes"])
def test_booleans_are_read_as_people_write_them(text: str) -> None:
    assert parse_form(SpeechForm, {"return_timestamps": [text]}).return_timestamps


@pytest.mark.parametrize("text", ["false", "False", "0", "no", ""])
def test_a_no_is_a_no(text: str) -> None:
    assert not parse_form(SpeechForm, {"return_timestamps": [text]}).return_timestamps


def test_of_a_repeated_field_the_last_value_counts() -> None:
    assert parse_form(JobForm, {"priority": ["batch", "interactive"]}).priority == "interactive"


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (TranscriptionForm, "response_format", "yaml"),
        (JobForm, "priority", "urgent"),
        (SpeechForm, "return_timestamps", "perhaps"),
    ],
)
def test_a_wrong_value_is_refused_naming_the_field_and_what_it_may_be(
    kind: type[SpeechForm], name: str, value: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"{name} is '{value}'") as refusal:
        parse_form(kind, {name: [value]})
    assert refusal.value.param == name


@pytest.mark.parametrize("kind", [SpeechForm, TranscriptionForm, JobForm])
def test_every_field_is_described(kind: type[SpeechForm]) -> None:
    schema = describe_form(kind)["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert schema["required"] == ["file"]
    assert all(field["description"] for field in schema["properties"].values())
    assert set(schema["properties"]) == {"file", *kind.model_fields}
