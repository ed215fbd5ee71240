"""Text fields become forms. Empty fields count as absent, and refusals name the field."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors.tree import UnsupportedValue
from api.formats.response_format import Granularity, ResponseFormat
from api.intake.form_fields import find_lists, parse_form
from api.intake.forms import Include, JobForm, ServerVad, SpeechForm, StreamForm, TranscriptionForm
from api.openapi.form_description import describe_form
from shared.errors import InvalidRequest

NO_VALUE = st.sampled_from(["", " ", "\n"])


def parse(**fields: str) -> SpeechForm:
    return parse_form(TranscriptionForm, {name: [value] for name, value in fields.items()})


def refuse(kind: type[SpeechForm], fields: dict[str, list[str]]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refusal:
        parse_form(kind, fields)
    return refusal.value


def test_a_form_without_fields_has_the_defaults() -> None:
    form = parse_form(TranscriptionForm, {})
    assert (form.language, form.response_format, form.return_timestamps) == ("auto", "json", False)
    assert (form.model, form.prompt, form.context) == ("", "", None)
    assert (form.temperature, form.chunking_strategy, form.stream) == (None, None, False)


def test_empty_fields_count_as_absent_and_unknown_ones_are_ignored() -> None:
    fields = {name: [""] for name in [*TranscriptionForm.list_names(), "include[]", "known_speaker_names[]"]}
    fields |= {"prompt": ["  "], "chunking_strategy[threshold]": [""], "vad_filter": ["true"], "a[b]c": ["d"]}
    assert parse_form(TranscriptionForm, fields) == parse_form(TranscriptionForm, {})


@pytest.mark.parametrize("text", ["true", "True", "1", "yes"])
def test_booleans_are_read_as_people_write_them(text: str) -> None:
    assert parse_form(StreamForm, {"return_timestamps": [text]}).return_timestamps


@pytest.mark.parametrize("text", ["false", "False", "0", "no", ""])
def test_false_values_are_read_as_false(text: str) -> None:
    assert not parse_form(StreamForm, {"return_timestamps": [text]}).return_timestamps


def test_the_last_value_of_a_repeated_field_counts() -> None:
    assert parse_form(JobForm, {"priority": ["batch", "interactive"]}).priority == "interactive"


@pytest.mark.parametrize(("text", "number"), [("0", 0.0), ("0.0", 0.0), (" 0.2 ", 0.2), ("1", 1.0)])
def test_a_temperature_is_a_number(text: str, number: float) -> None:
    assert parse(temperature=text).temperature == number


@pytest.mark.parametrize("shape", list(ResponseFormat))
def test_every_response_format_is_known(shape: ResponseFormat) -> None:
    assert parse(response_format=shape.value).response_format is shape


@given(
    bracketed=st.lists(st.sampled_from([*Granularity, ""])),
    comma_lists=st.lists(st.lists(st.sampled_from(Granularity)), max_size=3),
    json_list=st.lists(st.sampled_from(Granularity)),
    numbered=st.sampled_from([*Granularity, ""]),
)
def test_granularities_are_the_union_of_all_the_names_and_spellings(
    bracketed: list[str], comma_lists: list[list[Granularity]], json_list: list[Granularity], numbered: str
) -> None:
    fields = {
        "response_format": ["verbose_json"],
        "timestamp_granularities[]": bracketed,
        "timestamp_granularities[0]": [numbered],
        "timestamp_granularities": [*map(", ".join, comma_lists), json.dumps(json_list)],
    }
    sent = {*bracketed, numbered, *json_list, *(one for some in comma_lists for one in some)}
    assert parse_form(TranscriptionForm, fields).timestamp_granularities == sent - {""}


@pytest.mark.parametrize("name", ["include", "include[]"])
def test_include_is_read_by_either_name(name: str) -> None:
    assert parse_form(TranscriptionForm, {name: ["logprobs"]}).include == {Include.LOGPROBS}


@pytest.mark.parametrize(
    ("fields", "context"),
    [
        ({"prompt": ["Names:\nQwen"]}, "Names:\nQwen"),
        ({"keywords[]": ["Qwen", "red, green"]}, "Qwen, red, green"),
        ({"prompt": ["A talk."], "keywords[]": ["Qwen"], "keywords": ["ASR"]}, "A talk.\nQwen, ASR"),
    ],
)
def test_prompt_and_keywords_are_the_context(fields: dict[str, list[str]], context: str) -> None:
    assert parse_form(StreamForm, fields).context == context


@pytest.mark.parametrize(
    ("fields", "languages"),
    [
        ({"language": ["de"]}, ["de"]),
        ({"languages[]": ["de"]}, ["de"]),
        ({"languages[]": ["de"], "language": ["auto"]}, ["de"]),
        ({"languages[]": ["de"], "language": ["de"]}, ["de"]),
        ({"languages[]": ["auto"], "language": ["de"]}, ["de"]),
        ({"languages[]": ["de", "en", "de"]}, ["de", "en"]),
        ({"languages[]": ["de", "en"], "language": ["en"]}, ["en"]),
        ({}, []),
    ],
)
def test_the_languages_that_may_be_spoken_are_read(
    fields: dict[str, list[str]], languages: list[str]
) -> None:
    assert parse_form(StreamForm, fields).spoken_languages == languages


def test_a_language_that_is_not_among_the_languages_is_refused() -> None:
    refusal = refuse(StreamForm, {"languages[]": ["de"], "language": ["en"]})
    assert (refusal.param, "de, en" in refusal.message) == ("languages", True)


@pytest.mark.parametrize(
    "fields",
    [
        {"chunking_strategy": ["auto"]},
        {"chunking_strategy": ['"auto"']},
        {"chunking_strategy": ['{"type": "auto"}']},
        {"chunking_strategy[type]": ["auto"]},
    ],
)
def test_automatic_chunking_equals_no_strategy(fields: dict[str, list[str]]) -> None:
    assert parse_form(StreamForm, fields).chunking_strategy is None


@pytest.mark.parametrize(
    "fields",
    [
        {"chunking_strategy": ['{"type": "server_vad", "threshold": 0.3, "silence_duration_ms": 700}']},
        {
            "chunking_strategy[type]": ["server_vad"],
            "chunking_strategy[threshold]": ["0.3"],
            "chunking_strategy[silence_duration_ms]": ["700"],
        },
        {"chunking_strategy[threshold]": ["0.3"], "chunking_strategy[silence_duration_ms]": ["700"]},
    ],
)
def test_vad_parameters_are_read_in_either_spelling(fields: dict[str, list[str]]) -> None:
    vad = parse_form(StreamForm, fields).chunking_strategy
    assert vad == ServerVad(threshold=0.3, prefix_padding_ms=300, silence_duration_ms=700)


def test_a_vad_without_parameters_has_openais_defaults() -> None:
    vad = parse_form(StreamForm, {"chunking_strategy": ["server_vad"]}).chunking_strategy
    assert vad == ServerVad(threshold=0.5, prefix_padding_ms=300, silence_duration_ms=200)


@pytest.mark.parametrize(
    "fields",
    [
        {"chunking_strategy": ["fancy"]},
        {"chunking_strategy": ["{"]},
        {"chunking_strategy": ["[" * 50_000]},
        {"chunking_strategy": ["{" + '"a":[' * 10_000]},
        {"chunking_strategy": ['{"type": ["server_vad"]}']},
        {"chunking_strategy": ["auto"], "chunking_strategy[threshold]": ["0.5"]},
        {"chunking_strategy[threshold]": ["1.5"]},
        {"chunking_strategy[threshold]": ["nan"]},
        {"chunking_strategy[prefix_padding_ms]": ["-1"]},
        {"chunking_strategy[prefix_padding_ms]": ["2001"]},
        {"chunking_strategy[silence_duration_ms]": ["49"]},
        {"chunking_strategy[silence_duration_ms]": ["5001"]},
        {"chunking_strategy[eagerness]": ["high"]},
        {"chunking_strategy": ['{"type": "server_vad", "threshold": "0.5"}']},
        {"chunking_strategy": ['{"type": "server_vad", "threshold": true}']},
    ],
)
def test_an_invalid_chunking_strategy_is_refused(fields: dict[str, list[str]]) -> None:
    refusal = refuse(StreamForm, fields)
    assert refusal.param == "chunking_strategy"
    assert len(refusal.message) < 300


@given(
    text=st.text(alphabet='{}[]",:autosrvdthe0.5 ', max_size=40),
    numbers=st.dictionaries(st.sampled_from(["type", "threshold", "x"]), st.text(max_size=5)),
)
def test_any_chunking_strategy_is_accepted_or_refused(text: str, numbers: dict[str, str]) -> None:
    fields = {f"chunking_strategy[{key}]": [value] for key, value in numbers.items()}
    with suppress(InvalidRequest):
        parse_form(StreamForm, fields | {"chunking_strategy": [text]})


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (TranscriptionForm, "response_format", "yaml"),
        (TranscriptionForm, "stream", "maybe"),
        (TranscriptionForm, "temperature", "1.1"),
        (TranscriptionForm, "temperature", "-0.1"),
        (TranscriptionForm, "temperature", "nan"),
        (TranscriptionForm, "temperature", "hot"),
        (TranscriptionForm, "timestamp_granularities", "syllable"),
        (TranscriptionForm, "include", "usage"),
        (JobForm, "priority", "urgent"),
        (StreamForm, "return_timestamps", "perhaps"),
    ],
)
def test_a_wrong_value_is_refused_with_its_field_and_the_valid_values(
    kind: type[SpeechForm], name: str, value: str
) -> None:
    refusal = refuse(kind, {name: [value]})
    assert refusal.param == name
    assert refusal.message.startswith(f"{name} is '{value}': it should be ")
    assert "valid" not in refusal.message  # as pydantic words it


@pytest.mark.parametrize(
    ("fields", "param", "remedy"),
    [
        ({"timestamp_granularities": "word"}, "timestamp_granularities", "verbose_json"),
        (
            {"timestamp_granularities": "segment, word", "response_format": "srt"},
            "timestamp_granularities",
            "verbose_json",
        ),
        ({"stream": "true", "response_format": "srt"}, "stream", "json"),
        ({"stream": "true", "response_format": "vtt"}, "stream", "json"),
        ({"stream": "true", "response_format": "verbose_json"}, "stream", "json"),
        ({"include": "logprobs", "response_format": "verbose_json"}, "include", "json"),
        ({"return_timestamps": "true", "response_format": "text"}, "return_timestamps", "json"),
        ({"return_timestamps": "true", "stream": "true"}, "return_timestamps", "/stream"),
    ],
)
def test_fields_that_do_not_fit_the_format_are_refused(
    fields: dict[str, str], param: str, remedy: str
) -> None:
    refusal = refuse(TranscriptionForm, {name: [value] for name, value in fields.items()})
    assert refusal.param == param
    assert remedy in refusal.message


@pytest.mark.parametrize("shape", ["json", "text"])
def test_text_can_be_streamed(shape: str) -> None:
    assert parse(stream="true", response_format=shape).stream


def test_speaker_identification_is_refused() -> None:
    refusal = refuse(TranscriptionForm, {"response_format": ["diarized_json"]})
    assert isinstance(refusal, UnsupportedValue)
    assert refusal.param == "response_format"
    for name in ("known_speaker_names", "known_speaker_references"):
        assert refuse(TranscriptionForm, {f"{name}[]": ["Ann"]}).param == name


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (StreamForm, "response_format", "srt"),
        (StreamForm, "include[]", "logprobs"),
        (JobForm, "include[]", "logprobs"),
    ],
)
def test_fields_of_another_endpoint_are_refused(kind: type[SpeechForm], name: str, value: str) -> None:
    refusal = refuse(kind, {name: [value]})
    assert refusal.param == name.removesuffix("[]")
    assert f"does not support {name.removesuffix('[]')}" in refusal.message


@pytest.mark.parametrize("kind", [StreamForm, JobForm])
def test_harmless_values_of_another_endpoints_fields_are_ignored(kind: type[SpeechForm]) -> None:
    assert parse_form(kind, {"response_format": ["json"], "stream": ["false"]}) == parse_form(kind, {})


def test_a_job_refuses_stream() -> None:
    assert refuse(JobForm, {"stream": ["true"]}).param == "stream"


@pytest.mark.parametrize("kind", [StreamForm, TranscriptionForm, JobForm])
def test_every_field_is_described(kind: type[SpeechForm]) -> None:
    schema = describe_form(kind)["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert "file" in schema["properties"]
    assert schema.get("required", ["file"]) == ["file"]
    assert all(field["description"] for field in schema["properties"].values())
    lists = find_lists(kind)
    names = {f"{name}[]" if name in lists else name for name in kind.list_names()}
    assert set(schema["properties"]) == {"file", *names}
    assert "$ref" not in json.dumps(schema)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("temperature", "0_1"),
        ("temperature", "\u0660"),
        ("temperature", "1e-_1"),
        ("chunking_strategy[threshold]", "0_5"),
        ("chunking_strategy[silence_duration_ms]", "5_00"),
    ],
)
def test_a_number_that_only_python_reads_is_refused(name: str, number: str) -> None:
    assert "number" in refuse(TranscriptionForm, {name: [number]}).message


@pytest.mark.parametrize("number", ["0", "0.0", ".5", "1.", "1e-1", " 0.25 "])
def test_other_spellings_of_numbers_are_read(number: str) -> None:
    form = parse_form(TranscriptionForm, {"temperature": [number]})

    assert form.temperature == float(number)


def test_the_remedy_for_log_probabilities_is_one_that_works() -> None:
    refusal = refuse(TranscriptionForm, {"include[]": ["logprobs"], "response_format": ["verbose_json"]})

    assert "Omit it" in refusal.message
    assert "Send response_format" not in refusal.message
